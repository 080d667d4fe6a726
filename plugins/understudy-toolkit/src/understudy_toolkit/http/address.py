"""Where a request goes, and how its head is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import quote, urlencode, urlsplit

from understudy.errors import InvalidRequest

__all__ = ["Address", "check_header", "write_head"]

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
        """Read an address; a name and a password in it are not part of it."""
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
        return _quoted(f"{self.path}/{path.lstrip('/')}") + asked


@lru_cache(maxsize=64)
def _quoted(path: str) -> str:
    return quote(path, safe=_PATH)


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
