"""medfuse: learn from medical images and their reports together."""

__version__ = "0.1.0"
