"""How the machine's own settings affect the way to a vendor: proxies and certificates, and mistakes in them.

All lanes read them in one way. SDKs read them in several, and some fail on a variable that does not concern the vendor:
so they are given the proxy and the certificates, and read none themselves.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from understudy.errors import ProviderUnavailable
from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.lanes import basic

__all__ = [
    "HTTPX",
    "OURS",
    "REQUESTS",
    "Carrier",
    "Proxy",
    "fault_of",
    "fault_of_certificates",
    "find_proxy",
    "note_unreadable",
]

_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080
_DIRECT = ("no_proxy", "NO_PROXY", "REQUEST_METHOD")  # with the last, a CGI script's, HTTP_PROXY does not count
_HOST = re.compile(r"[^\s<>\"'{}|\\^`%]+")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # the name of a certificate in a folder that OpenSSL looks into


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries requests: which proxies it can use, and whose certificates it trusts.

    Args:
        proxies: the kinds of proxies.
        socks: more of them, where a package is installed.
        package: the module of that package, and what installs it.
        certificates: the variables that name certificates: a file, and a folder or another file.
        advice: what else helps where a proxy is of another kind.
    """

    proxies: tuple[str, ...]
    socks: tuple[str, ...] = ()
    package: tuple[str, str] = ("", "")
    certificates: tuple[str, str] = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL's own
    advice: str = ""


# aiohttp and http.client, as used here.
OURS = Carrier(("http",), advice=", or choose the vendor's SDK as the transport")
# httpx 0.28.1 and httpx2 2.16.2: _config.py (Proxy), _transports/default.py
HTTPX = Carrier(("http", "https"), ("socks5", "socks5h"), ("socksio", "socksio"))
# requests 2.34.2: adapters.py, sessions.py (merge_environment_settings); urllib3 2.8.0: contrib/socks.py
REQUESTS = Carrier(
    ("http", "https"),
    ("socks4", "socks4a", "socks5", "socks5h"),
    ("socks", "PySocks"),
    ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """A proxy between us and the vendor.

    Args:
        host: its name or number, without brackets.
        port: its port.
        kind: how it is spoken to: "http", "socks5" and the like.
        login: the name and the password that it is shown.
    """

    host: str
    port: int
    kind: str = "http"
    login: tuple[str, str] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"

    @property
    def authorization(self) -> str | None:
        """The header that it is shown; None for none."""
        return None if self.login is None else basic(*self.login)

    @property
    def url(self) -> str:
        """Its address, without the name and the password."""
        return f"{self.kind}://{self._place}"

    @property
    def url_with_login(self) -> str:
        """Its address, with them."""
        if self.login is None:
            return self.url
        name, password = (quote(word, safe="") for word in self.login)
        return f"{self.kind}://{name}:{password}@{self._place}"

    @property
    def _place(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def fault_of(url: str, carrier: Carrier) -> str | None:
    """Say which of the machine's variables blocks requests to an address, and how to fix it; None if none does.

    It is quick, opens nothing, and shows no password.

    Args:
        url: the address.
        carrier: what would carry the requests.
    """
    scheme = _scheme_of(url)
    values = tuple(map(os.environ.get, _proxy_variables(scheme)))
    fault = None
    if any(values):
        fault = _fault_of_proxy(url, carrier, (*values, *map(os.environ.get, _DIRECT)))
    return fault or (fault_of_certificates(carrier) if scheme == "https" else None)


def find_proxy(url: str, carrier: Carrier) -> Proxy | None:
    """Return the proxy that the machine names for an address: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.

    Requests to this machine go through none.

    Args:
        url: the address.
        carrier: what carries the requests.

    Raises:
        ProviderUnavailable: its address cannot be read, or it is of a kind that the carrier does not speak to.
    """
    if is_this_machine(url):
        return None
    scheme, found = _scheme_of(url), getproxies()
    named = next((name for name in (scheme, "all") if found.get(name, "").strip()), None)
    if named is None or _is_direct(url, found.get("no", "")):
        return None
    value = found[named].strip()
    variable = next((name for name in _proxy_variables(named) if os.environ.get(name)), "the system's settings")
    return _read_proxy(value, variable, carrier)


@lru_cache(maxsize=64)
def _fault_of_proxy(url: str, carrier: Carrier, values: tuple[str | None, ...]) -> str | None:
    """Say what is wrong with a proxy, once for the same values."""
    try:
        find_proxy(url, carrier)
    except ProviderUnavailable as unavailable:
        return unavailable.message
    return None


def _scheme_of(url: str) -> str:
    return url.partition(":")[0].lower()


@cache
def _proxy_variables(scheme: str) -> tuple[str, ...]:
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return names if scheme == "all" else (*names, "all_proxy", "ALL_PROXY")


def _is_direct(url: str, no_proxy: str) -> bool:
    """Return whether an address is reached without a proxy; unreadable entries of NO_PROXY are ignored."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if proxy_bypass(host) or proxy_bypass(f"{host}:{parts.port or _PORTS[parts.scheme]}"):
        return True
    return any(_holds(entry.strip().strip("[]"), host) for entry in no_proxy.split(","))


def _holds(network: str, host: str) -> bool:
    """Return whether a network, such as 10.0.0.0/8, holds an address that is a number."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _read_proxy(value: str, variable: str, carrier: Carrier) -> Proxy:
    has_kind = "://" in value
    try:
        parts = urlsplit(value if has_kind else f"http://{value}")
        host, port, kind = parts.hostname or "", parts.port, parts.scheme.lower()
    except ValueError:
        host, port, kind = "", None, ""
    if not _HOST.fullmatch(host) or port == 0 or not (has_kind or parts.path in ("", "/")):
        raise ProviderUnavailable(
            f"{variable}: expected a proxy such as http://host:3128, found one that cannot be read; correct or remove "
            "the variable (in a password, / is written %2F, # is %23 and ? is %3F)"
        )
    if kind in carrier.socks and find_spec(carrier.package[0]) is None:
        raise ProviderUnavailable(
            f"{variable}: expected a proxy of the kind {_kinds(carrier.proxies)}, found {kind}://, which needs the "
            f"package {carrier.package[1]}: install it, or name another proxy"
        )
    if kind not in carrier.proxies + carrier.socks:
        raise ProviderUnavailable(
            f"{variable}: expected a proxy of the kind {_kinds(carrier.proxies + carrier.socks)}, found {kind[:20]}://;"
            f" name another{carrier.advice}"
        )
    port = port or _PORTS.get(kind, _SOCKS_PORT)
    login = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    return Proxy(host, port, kind, login)


def _kinds(kinds: tuple[str, ...]) -> str:
    return " or ".join(f"{kind}://" for kind in kinds)


# ---- certificates ----


def fault_of_certificates(carrier: Carrier) -> str | None:
    """Say which variable names certificates that cannot be read, as `fault_of` does."""
    found = ((name, os.environ.get(name)) for name in carrier.certificates)
    for name, value in found:
        if value:  # the first is enough, for OpenSSL as for requests
            fault = _fault_of_folders(value) if name == "SSL_CERT_DIR" else _fault_of_file(value, carrier)
            return fault and f"{name}: expected certificates {fault}; correct or remove the variable"
    return None


def _fault_of_folders(value: str) -> str | None:
    folders = value.split(os.pathsep)
    if not any(map(os.path.isdir, folders)):
        return f"in the directory {value}, found " + ("a file" if os.path.exists(value) else "nothing there")
    if any(_HASHED.fullmatch(name) for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)):
        return None
    return f"in the directory {value} under their hashes, as `openssl rehash` names them, found none"


def _fault_of_file(value: str, carrier: Carrier) -> str | None:
    if os.path.isdir(value):
        return None if carrier is REQUESTS else f"in a file, found a directory at {value}"
    if not os.path.exists(value):
        return f"at {value}, found nothing there"
    if not os.access(value, os.R_OK):
        return f"at {value}, found a file that may not be read"
    known = _unreadable.get(value)
    return known[1] if known is not None and known[0] == _state_of(value) else None


def note_unreadable(path: str, fault: str) -> None:
    """Note that a file has no certificates: it is not tried again before it has changed."""
    _unreadable[path] = _state_of(path), f"in PEM form at {path}, found: {fault}"


def _state_of(path: str) -> tuple[int, int] | None:
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


_unreadable: dict[str, tuple[tuple[int, int] | None, str]] = {}
