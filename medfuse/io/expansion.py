"""How far compressed files may expand: beyond it they are bombs, refused before memory or disk is taken."""

from __future__ import annotations

from medfuse.errors import VolumeError

__all__ = ["MAX_MEMBERS", "MAX_MEMBER_BYTES", "MAX_TOTAL_BYTES", "check_expansion"]

MAX_MEMBERS = 500_000
MAX_MEMBER_BYTES = 16 * 2**30
MAX_TOTAL_BYTES = 2**40

LARGE_BYTES, MAX_RATIO = 512 * 2**20, 100
"""Above 512 MiB, an expansion beyond a hundredfold is no image: those shrink to a half or a third."""


def check_expansion(where: str, size: int, n_stored: int, *, n_members: int = 0) -> None:
    """Refuse what would expand beyond any image or archive of images.

    Parameters
    ----------
    where : str
        For error messages.
    size : int
        Bytes after expansion, as they are claimed or so far.
    n_stored : int
        Bytes before.
    n_members : int
        Of a whole archive; 0 for a single member.

    Raises
    ------
    VolumeError
        If it is too large, or would expand too far.

    Examples
    --------
    >>> check_expansion("zip", 2**20, 2**10)
    """
    if n_members > MAX_MEMBERS:
        raise VolumeError(where, f"found {n_members} members, too many", expected=f"at most {MAX_MEMBERS}")
    limit = MAX_TOTAL_BYTES if n_members else MAX_MEMBER_BYTES
    if size > limit or (size > LARGE_BYTES and size > MAX_RATIO * n_stored):
        found = f"found {n_stored} bytes that expand to {size}: too large (an expansion bomb?)"
        raise VolumeError(where, found, expected=f"at most {limit} bytes, and a hundredfold above {LARGE_BYTES}")
