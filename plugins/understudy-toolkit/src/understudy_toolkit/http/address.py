"""Where a request goes, through which proxy, and how its head is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from understudy.errors import InvalidRequest, ProviderUnavailable
from understudy_toolkit.account import basic
from understudy_toolkit.clients import is_this_machine

__all__ = ["Address", "Proxy", "check_header", "find_proxy", "write_head"]

_PORTS = {"http": 80, "https": 443}
_PATH = "/:@!$&'()*+,;=~%-._"  # allowed unquoted in a path (RFC 3986, 3.3), and what is already quoted


@dataclass(frozen=True, slots=False)
class Address:
    """A server's address, and the beginning of the paths there.

    Args:
        scheme: "http" or "https".
        host: its name or number, without brackets.
        port: its port.
        path: the prefix of every path, without a slash at its end.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """Read an address; a name and a password in it are no part of it."""
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return cls(scheme, parts.hostname or "", parts.port or _PORTS[scheme], parts.path.rstrip("/"))

    @cached_property
    def authority(self) -> str:
        """Host and port as the header Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @cached_property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    def target(self, path: str, query: Mapping[str, str]) -> str:
        """Return the path of a request, quoted, with its query: it stays at this address, whatever it contains."""
        asked = f"?{urlencode(query)}" if query else ""
        return quote(f"{self.path}/{path.lstrip('/')}", safe=_PATH) + asked


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """A proxy between us and the vendor.

    Args:
        host: its name or number.
        port: its port.
        authorization: the header that it is shown; None for none.
    """

    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"

    @property
    def url(self) -> str:
        """Its address, without the name and the password."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def find_proxy(address: Address) -> Proxy | None:
    """Return the proxy that the environment names for an address: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.

    Nothing for this machine goes through one.

    Raises:
        ProviderUnavailable: its name cannot be read, or it is of a kind that the http lane does not speak to.
    """
    if is_this_machine(address.origin):
        return None
    found = getproxies()
    named = next((scheme for scheme in (address.scheme, "all") if found.get(scheme)), None)
    if named is None or proxy_bypass(address.host):
        return None
    return _read_proxy(found[named].strip(), named)


def _read_proxy(value: str, scheme: str) -> Proxy:
    variable = next((name for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY") if os.environ.get(name)), "")
    where = variable or "the system's settings"
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port or _PORTS["http"]
    except ValueError:
        parts, host = urlsplit(""), None
    if not host:
        raise ProviderUnavailable(f"{where}: expected a proxy such as http://host:3128, found one that cannot be read")
    if parts.scheme.lower() != "http":
        raise ProviderUnavailable(
            f"{where}: expected a proxy that is spoken to in plain HTTP, such as http://host:3128, found one of the "
            f"kind {parts.scheme.lower()[:20]}://; name another, or choose the vendor's SDK as the transport"
        )
    if parts.username is None:
        return Proxy(host, port)
    return Proxy(host, port, basic(unquote(parts.username), unquote(parts.password or "")))


def write_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Return the head of a request, whose headers were checked."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("ascii")


def check_header(name: str, value: str) -> None:
    """Check that a header is one line of printable ASCII.

    Raises:
        InvalidRequest: it is not; the value is not shown, since it may be a key.
    """
    if not (value.isascii() and value.isprintable() and name.isascii() and name.isprintable() and ":" not in name):
        raise InvalidRequest(f"expected printable ASCII in the header {name[:40]!r}, found other characters")
