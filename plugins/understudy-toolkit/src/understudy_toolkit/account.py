"""A vendor account as the settings describe it: its key, its address, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from understudy.errors import ConfigurationError, ProviderUnavailable
from understudy.settings import Secret, Settings
from understudy_toolkit.lanes import basic
from understudy_toolkit.machine import HTTPX, OURS, Carrier, fault_of

__all__ = ["Account", "Transport", "read_account", "read_transport", "without_login"]

Transport = Literal["sdk", "http"]
LANES: tuple[Transport, ...] = get_args(Transport)
DEFAULT_TRANSPORT: Transport = "sdk"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Account:
    """Who is asked, where, and on which lane.

    Args:
        base_url: the address, without a slash at its end; it may hold a name and a password.
        model: the model that is asked where a request names none.
        key: the key; None for a server without keys, or where it is missing.
        credential: a word for the account that reveals neither key nor password, for a provider's `credential`.
        missing: what is missing, in one sentence; None where nothing is.
        is_vendor: whether the address is the vendor's own.
        transport: the lane: "sdk" or "http".
        sdk: what carries the requests of the vendor's SDK.
        headers: the user's own, which some SDKs read from a variable by themselves; no credentials.
    """

    base_url: str
    model: str
    key: Secret | None = None
    credential: str = ""
    missing: str | None = None
    is_vendor: bool = True
    transport: Transport = DEFAULT_TRANSPORT
    sdk: Carrier = HTTPX
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def unavailable_reason(self) -> str | None:
        """What is missing, or which of the machine's variables blocks requests; None if nothing is wrong."""
        return self.missing or fault_of(self.base_url, OURS if self.transport == "http" else self.sdk)

    def check(self, provider: str) -> None:
        """Check that nothing is missing, and that no setting of the machine is in the way.

        Args:
            provider: the provider's name.

        Raises:
            ProviderUnavailable: something is.
        """
        reason = self.unavailable_reason
        if reason is not None:
            raise ProviderUnavailable(reason, provider=provider)

    @property
    def bearer(self) -> dict[str, str]:
        """The headers that carry the key as a bearer's token, or the login; nothing for a server without either."""
        return self.login | ({} if self.key is None else {"Authorization": f"Bearer {self.key.reveal()}"})

    @property
    def shown_url(self) -> str:
        """The address without the login."""
        return without_login(self.base_url)

    @property
    def login(self) -> dict[str, str]:
        """The header that shows the name and the password in the address; nothing where there is none."""
        parts = urlsplit(self.base_url)
        if parts.username is None:
            return {}
        return {"Authorization": basic(unquote(parts.username), unquote(parts.password or ""))}

    def __repr__(self) -> str:
        return f"Account(base_url={self.shown_url!r}, model={self.model!r}, transport={self.transport!r})"


def read_account(
    settings: Settings,
    *,
    key: str | tuple[str, ...],
    url: str | tuple[str, ...],
    default_url: str,
    model: str | tuple[str, ...],
    default_model: str,
    transport: str | None = None,
    sdk: Carrier = HTTPX,
    headers: str | None = None,
    credentials: tuple[str, ...] = ("Authorization",),
) -> Account:
    """Read an account from the settings, each value from the first of its variables that is set.

    Args:
        settings: where the variables are; a provider's table in `understudy.toml` overrides them.
        key: the variables of the key.
        url: those of the address.
        default_url: the vendor's own address.
        model: those of the model.
        default_model: the model where none is named.
        transport: the variable that chooses the lane; None where there is only the SDK's.
        sdk: what carries the requests of the vendor's SDK.
        headers: the variable of the user's own headers, lines such as "X-Team: blue", where the vendor's SDK has one;
            they go to no server with a table of its own.
        credentials: the headers that are not sent as they stand there.

    Raises:
        ConfigurationError: a value is malformed, or the address comes from a place that is trusted less than the key's.
    """
    settings = settings.for_account()
    keys, urls, models = ((names,) if isinstance(names, str) else names for names in (key, url, model))
    own = None
    if headers is not None and settings.provider_name is None:
        settings.sends(headers)
        own = settings.find(headers)
    found, base_url = settings.api_key(*keys), settings.base_url(*urls, default=default_url)
    return Account(
        base_url=base_url,
        model=settings.model(*models, default=default_model),
        key=found,
        credential=settings.credential(found, base_url, default=default_url),
        missing=None if found or not settings.needs_key else settings.missing(*keys),
        is_vendor=base_url == default_url,
        transport=read_transport(settings, transport, base_url, sdk, LANES if transport else LANES[:1]),
        sdk=sdk,
        headers={} if own is None else _read_headers(*own, credentials),
    )


def without_login(url: str) -> str:
    """Return an address without a name and a password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def read_transport(
    settings: Settings, name: str | None, url: str, sdk: Carrier = HTTPX, lanes: tuple[Transport, ...] = LANES
) -> Transport:
    """Return the lane that the settings choose, or the one that can be used where they choose none.

    Args:
        settings: where the variable is; `transport` in a provider's table overrides it.
        name: the variable; None for none.
        url: the address.
        sdk: what carries the requests of the vendor's SDK.
        lanes: those that can be used: not "http" where the sign-in, or the whole protocol, is the SDK's own.

    Raises:
        ConfigurationError: they name something else.
    """
    table = settings.tables.get(settings.provider_name or "")
    value, what, origin = (settings.find(name) if name else None) or (None, "transport", "")
    if table is not None and table.transport is not None:
        value, what, origin = table.transport, "transport", table.origin
    if value is None:
        return _transport_to(url, sdk) if DEFAULT_TRANSPORT in lanes else "sdk"
    for known in lanes:
        if value.lower() == known:
            return known
    expected = " or ".join(f'"{lane}"' for lane in lanes)
    raise ConfigurationError(f"{what} in {origin}: expected {expected}, found {value[:40]!r}")


def _transport_to(url: str, sdk: Carrier) -> Transport:
    """Return the usual lane, or the SDK's where only that can use the proxy that the machine names."""
    is_barred = DEFAULT_TRANSPORT == "http" and fault_of(url, OURS) is not None and fault_of(url, sdk) is None
    return "sdk" if is_barred else DEFAULT_TRANSPORT


def _read_headers(value: str, name: str, origin: str, credentials: tuple[str, ...]) -> dict[str, str]:
    """Return the headers in a variable, one a line, as the SDKs read it (anthropic 2.14.0, _client.py)."""
    passed_over = {credential.lower() for credential in (*credentials, *_OF_THE_REQUEST)}
    lines = (line.partition(":") for line in value.split("\n") if ":" in line)
    found = {header.strip(): text.strip() for header, _, text in lines if header.strip().lower() not in passed_over}
    if not all(_HEADER.fullmatch(header) and (text.isascii() and text.isprintable()) for header, text in found.items()):
        raise ConfigurationError(f"{name} in {origin}: expected lines such as X-Team: blue, found other characters")
    return found


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_THE_REQUEST = ("connection", "transfer-encoding", "content-length", "content-type", "accept-encoding")
