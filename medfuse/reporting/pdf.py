"""A page as PDF, where the extra is installed."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

__all__ = ["write_pdf"]


def write_pdf(page: Path) -> Path | None:
    """Print a page to a PDF beside it; nothing is fetched.

    Parameters
    ----------
    page : Path
        An HTML file of this room, which holds all it shows.

    Returns
    -------
    Path or None
        The PDF; None where WeasyPrint is not installed (``pip install 'medfuse[pdf]'``).
    """
    if find_spec("weasyprint") is None:
        return None
    from weasyprint import HTML, URLFetcher

    for name in ("weasyprint", "fontTools"):
        logging.getLogger(name).setLevel(logging.ERROR)
    target = page.with_suffix(".pdf")
    text = page.read_text(encoding="utf-8")
    HTML(string=text, url_fetcher=URLFetcher(allowed_protocols=("data",))).write_pdf(target)
    return target
