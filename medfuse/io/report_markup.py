"""The plain text of a report that came as RTF, HTML or XML.

Nothing outside the report is ever read (no external entity, no network), and no entity of its own is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from medfuse.errors import ReportTextError

if TYPE_CHECKING:
    from lxml.etree import _Element

__all__ = ["plain_text"]

HTML_START = re.compile(
    r"<(?:!doctype\s{1,9}html|html|head|body|div|p|span|table|pre|b|br|font|h[1-6])\b", re.IGNORECASE
)
XML_START = re.compile(r"<(?:\?xml\b|!doctype\b|([A-Za-z][\w:.-]{0,80}))", re.IGNORECASE)
DECLARATION = re.compile(r"^<\?xml[^>]{0,200}\?>")
ENTITY = re.compile(r"<!ENTITY\b", re.IGNORECASE)

NEVER_TEXT = frozenset({"script", "style", "head", "template", "noscript", "object", "iframe"})
INLINE = frozenset({
    "a", "abbr", "b", "big", "bdi", "bdo", "code", "content", "del", "em", "font", "i", "ins", "label", "linkhtml",
    "mark", "q", "s", "small", "span", "strong", "sub", "sup", "tt", "u",
})  # fmt: skip
SECTIONS = frozenset({
    "abstracttext", "addendum", "clinicalhistory", "clinicalinformation", "comparison", "comparisons", "conclusion",
    "conclusions", "examination", "finding", "findings", "history", "impression", "impressions", "indication",
    "indications", "procedure", "recommendation", "recommendations", "report", "reportbody", "reporttext", "technique",
    "techniques",
})  # fmt: skip
"""Elements that hold what a reader wrote; where a document has any, its other elements (names, ids) are left out."""

WHERE = "report"


def plain_text(text: str) -> tuple[str, str]:
    r"""Return the words of a report without its markup.

    Parameters
    ----------
    text : str

    Returns
    -------
    text : str
        The same text if it has no markup of its own; a tag in the middle of plain text is left as it stands.
    kind : {"", "RTF", "HTML", "XML"}

    Raises
    ------
    ReportTextError
        If the markup is broken, or XML declares entities.

    Examples
    --------
    >>> plain_text(r"{\rtf1\ansi FINDINGS: 6 mm nodule.\par No effusion.}")
    ('FINDINGS: 6 mm nodule.\nNo effusion.', 'RTF')
    >>> plain_text("<html><p>No <b>nodule</b>.</p><script>x()</script></html>")
    ('No nodule.', 'HTML')
    >>> plain_text("<report><findings>No nodule.</findings></report>")
    ('FINDINGS:\nNo nodule.', 'XML')
    >>> plain_text("Size <5 mm.")
    ('Size <5 mm.', '')
    """
    start = text[:400].lstrip("\ufeff \t\r\n")
    if start.startswith("{\\rtf"):
        return _of_rtf(text), "RTF"
    if HTML_START.match(start):
        return _of_html(text), "HTML"
    opened = XML_START.match(start)
    if opened and (opened.group(1) is None or text.rstrip().endswith(f"</{opened.group(1)}>")):
        return _of_xml(text.lstrip("\ufeff \t\r\n"))
    return text, ""


def _of_rtf(text: str) -> str:
    from striprtf.striprtf import rtf_to_text

    try:
        return str(rtf_to_text(text, encoding="cp1252", errors="replace"))  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, OverflowError) as error:  # a character or code page that does not exist
        raise ReportTextError(WHERE, "found broken RTF", expected="RTF as its specification has it") from error


def _of_html(text: str) -> str:
    from lxml import etree

    parser = etree.HTMLParser(no_network=True, remove_comments=True, remove_pis=True, encoding="utf-8")
    try:
        root = etree.fromstring(DECLARATION.sub("", text).encode(), parser)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise ReportTextError(WHERE, "found broken HTML", expected="HTML with text") from error
    return "" if root is None else _tidy(_pieces(root))


def _of_xml(text: str) -> tuple[str, str]:
    from lxml import etree

    if ENTITY.search(text):
        found = "found XML that declares entities, which are never expanded"
        raise ReportTextError(WHERE, found, expected="XML without a declaration of entities")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, huge_tree=False
    )
    try:
        root = etree.fromstring(DECLARATION.sub("", text).encode(), parser)
    except etree.XMLSyntaxError as error:
        raise ReportTextError(WHERE, "found broken XML", expected="well-formed XML") from error
    if _name(root) == "html":
        return _of_html(text), "HTML"
    body = next((e for e in root.iter() if _name(e) == "structuredbody"), None)
    if body is not None:  # HL7 CDA: what is outside of it is the header, with names and addresses
        chosen = [e for e in body.iter() if _name(e) in ("title", "text")]
        return _tidy(piece for element in chosen for piece in (*_pieces(element), "\n")), "XML"
    sections = [e for e in root.iter() if _name(e) in SECTIONS]
    outer = [e for e in sections if not any(_name(child) in SECTIONS for child in e.iterdescendants())]
    if not outer:
        return _tidy(_pieces(root)), "XML"
    return _tidy(piece for element in outer for piece in (_heading(element), *_pieces(element), "\n")), "XML"


def _name(element: _Element) -> str:
    """Return an element's name in lower case without namespace, hyphen and underscore; empty for an entity."""
    tag = element.tag
    return tag.rpartition("}")[2].lower().replace("-", "").replace("_", "") if isinstance(tag, str) else ""


def _heading(element: _Element) -> str:
    """Return the heading that an element's label or name stands for."""
    named = element.get("Label") or element.get("label") or ""
    name = "" if _name(element) in ("abstracttext", "report", "reportbody", "reporttext") else str(element.tag)
    heading = named or re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", name.rpartition("}")[2])
    return f"{heading.upper()}: " if heading else ""


def _pieces(root: _Element) -> Iterator[str]:
    """Yield the text below an element, with a line's end around each block and blanks between cells."""
    from lxml import etree

    skipped: _Element | None = None
    for event, element in etree.iterwalk(root, events=("start", "end")):
        name = _name(element)
        if event == "start":
            if skipped is None and name in NEVER_TEXT:
                skipped = element
            if skipped is None:
                yield _edge(name)
                yield _own(element.text, name)
        else:
            if skipped is None:
                yield "" if name == "br" else _edge(name)
            elif skipped is element:
                skipped = None
            if skipped is None and element is not root:
                yield _own(element.tail, "")


def _edge(name: str) -> str:
    if name in ("td", "th"):
        return " "
    return "" if name in INLINE else "\n"


def _own(text: str | None, name: str) -> str:
    return (text or "") if name == "pre" else re.sub(r"[ \t\r\n]+", " ", text or "")


def _tidy(pieces: Iterator[str]) -> str:
    lines = re.sub(r"[ \t]*\n[ \t]*", "\n", "".join(pieces))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()
