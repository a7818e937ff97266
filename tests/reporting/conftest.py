"""Pages under test, read back as a browser reads them."""

from html.parser import HTMLParser

import pytest

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}$\\frac{1}{2}$"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def check_safe(page):
    """No script, no event handler, nothing fetched."""
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(page.tags)
    assert not [a for a in page.attributes if a[1].startswith("on")]
    ids = {value for _, name, value in page.attributes if name == "id"}
    fetched = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert all(value.startswith("data:image/") or (value[0] == "#" and value[1:] in ids) for value in fetched)
    policies = [v for tag, name, v in page.attributes if tag == "meta" and name == "content" and "default-src" in v]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert "url(" not in page.source and "@import" not in page.source


@pytest.fixture
def read_page():
    def read(path):
        page = Page(path)
        check_safe(page)
        return page

    return read


@pytest.fixture
def hostile():
    return HOSTILE
