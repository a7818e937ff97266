"""How a process that computes keeps memory and waits for its threads."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["is_out_of_memory", "prepare_process"]

# From malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def prepare_process() -> bool:
    """Let the process reuse the memory that it has freed, and its waiting threads leave the cores to others.

    To be called at the start of a command, before torch is imported. By default glibc hands every large block back to
    the kernel, and each layer of a network pays for fresh, zeroed pages: small networks spend half of their time so.
    OpenMP's threads wait by spinning, which takes a core from whatever else runs. What the user has set stays.

    Returns
    -------
    bool
        Whether memory is reused; False where the C library is not glibc, or its settings are the user's own.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER)) and bool(mallopt(_MMAP_THRESHOLD, _NEVER))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory does not suffice, on the CPU or a GPU.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ..."))
    True
    >>> is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in ("out of memory", "allocate memory"))
