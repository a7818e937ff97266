"""The whole line for one kind of user each: short scripts with one `main(argv) -> int`."""
