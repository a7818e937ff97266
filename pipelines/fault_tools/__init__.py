"""Variants of the fault cases, made from sound ones, by group."""
