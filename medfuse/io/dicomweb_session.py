"""Who asks a DICOMweb service: credentials from the environment or netrc, and never where others can read them."""

from __future__ import annotations

import ipaddress
import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medfuse.errors import UsageError

if TYPE_CHECKING:
    import requests

__all__ = ["SCHEME", "TOKEN", "checked_address", "is_loopback", "open_session"]

SCHEME = "dicomweb:"
"""What stands before the URL of a service, where an archive may stand too."""

TOKEN = "MEDFUSE_DICOMWEB_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable with a bearer token."""

WHERE = "DICOMweb address"
EXAMPLE = "dicomweb:https://HOST/PATH, the address that /studies follows"
TALKATIVE = ("dicomweb_client", "urllib3")
"""Loggers that name URLs, and in them StudyInstanceUIDs."""


def checked_address(source: str) -> str:
    """Return the URL of a service.

    Parameters
    ----------
    source : str
        As on the command line, with `SCHEME` before it.

    Raises
    ------
    UsageError
        If it is no URL, or holds a password: what stands on a command line, others can read.

    Examples
    --------
    >>> checked_address("dicomweb:https://pacs.example/dicom-web/")
    'https://pacs.example/dicom-web'
    """
    address = source.removeprefix(SCHEME)
    try:
        parts = urlsplit(address)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        raise UsageError(WHERE, "found no URL", expected=EXAMPLE) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_right:
        raise UsageError(WHERE, "found no URL of http or https", expected=EXAMPLE)
    if "@" in parts.netloc:
        expected = f"a token in {TOKEN}, or user and password in ~/.netrc"
        raise UsageError(WHERE, "found a user or password in it", expected=expected)
    if parts.query or parts.fragment:
        raise UsageError(WHERE, "found a query in it", expected="--query KEYWORD=VALUE")
    return address.rstrip("/")


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own, so that nobody else hears what is said.

    Examples
    --------
    >>> is_loopback("http://127.0.0.1:8042"), is_loopback("http://[::1]/x"), is_loopback("http://pacs.example")
    (True, True, False)
    """
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_session(address: str) -> requests.Session:
    """Make a session with the credentials for an address, if there are any.

    Parameters
    ----------
    address : str
        See `checked_address`.

    Returns
    -------
    requests.Session
        It follows no redirection; it takes proxies and certificates of the environment, but for this machine's own
        addresses.

    Raises
    ------
    UsageError
        If credentials would go over plain http to another machine, or a package is missing.
    """
    try:
        import dicomweb_client  # noqa: F401
        import requests
        from requests.utils import get_netrc_auth
    except ImportError:
        expected = "pip install 'medfuse[dicomweb]'"
        raise UsageError("dicomweb", "dicomweb-client is not installed", expected=expected) from None

    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    session = requests.Session()
    session.max_redirects = 0
    session.trust_env = not is_loopback(address)
    token = os.environ.get(TOKEN, "").strip()
    known = None if token else get_netrc_auth(address)
    if (token or known) and not (address.startswith("https:") or is_loopback(address)):
        found = "credentials would go over plain http, which others can read"
        raise UsageError(WHERE, found, expected=f"https, or no {TOKEN} and no entry in ~/.netrc")
    session.auth = _bearer(token) if token else known
    return session


def _bearer(token: str) -> Any:
    """Return what puts a token into a request. Source: RFC 6750, 2.1."""

    def authorise(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return authorise
