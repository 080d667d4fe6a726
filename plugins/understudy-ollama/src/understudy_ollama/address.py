"""Where the server is reached: OLLAMA_BASE_URL, else OLLAMA_HOST in the form that Ollama itself reads."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from understudy import ConfigurationError, Settings

DEFAULT_URL = "http://127.0.0.1:11434"

# A host, a port, or both, and perhaps a path, without the scheme (ollama, envconfig/config.go, Host).
_HOST = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?)?(?::(?P<port>\d{1,5}))?(?P<path>/[^?#@]*)?"
)
# What a server listens on to be reached from everywhere; a client has to name one address.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def read_address(settings: Settings) -> str:
    """Return the server's URL without a slash at its end.

    Raises:
        ConfigurationError: it is malformed.
    """
    found = settings.base_url("OLLAMA_BASE_URL", default="") or _read_host(settings) or DEFAULT_URL
    parts = urlsplit(found)
    before, at, place = parts.netloc.rpartition("@")
    for listening, reached in _EVERYWHERE.items():
        if place == listening or place.startswith(f"{listening}:"):
            place = reached + place.removeprefix(listening)
    return urlunsplit(parts._replace(netloc=before + at + place))


def is_hosted(url: str) -> bool:
    """Return whether a URL is that of Ollama's own servers, which load nothing that a user would wait for."""
    host = urlsplit(url).hostname or ""
    return host == "ollama.com" or host.endswith(".ollama.com")


def _read_host(settings: Settings) -> str | None:
    found = settings.find_address("OLLAMA_HOST")
    if found is None:
        return None
    value, name, origin = found
    if "://" in value:
        return settings.url(name)
    if value == "ollama.com":  # as Ollama itself has it
        return "https://ollama.com"
    if value.count(":") > 1 and not value.startswith("["):
        value = f"[{value}]"
    match = _HOST.fullmatch(value)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        raise ConfigurationError(  # the value itself is not shown: it may hold a password
            f"{name} in {origin}: expected a host, a port or both, such as 192.168.1.5, :11434 or gpu.example:11434, "
            "or a URL, found something else; correct it or remove the variable"
        )
    host, port, path = match["host"] or "127.0.0.1", match["port"] or "11434", match["path"] or ""
    return f"http://{host}:{port}{path.rstrip('/')}"
