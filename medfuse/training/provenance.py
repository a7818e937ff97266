"""Which state of the code made a run."""

from __future__ import annotations

from pathlib import Path

__all__ = ["git_commit"]


def git_commit(folder: Path = Path()) -> str:
    """Return the commit of a checkout, read from .git itself.

    Parameters
    ----------
    folder : Path
        By default the working folder.

    Returns
    -------
    str
        Empty outside a checkout.

    Examples
    --------
    >>> git_commit(Path("nowhere"))
    ''
    """
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text(encoding="ascii").strip()
        packed = (git / "packed-refs").read_text(encoding="ascii").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    except (OSError, ValueError):
        return ""
