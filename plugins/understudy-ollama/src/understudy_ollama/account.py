"""Which server is asked, and with which key: usually one's own server, without a key."""

from __future__ import annotations

from understudy import Settings
from understudy_ollama.address import DEFAULT_URL, read_address
from understudy_ollama.models import DEFAULT_MODEL
from understudy_toolkit.account import Account, read_transport


def account_of(settings: Settings) -> Account:
    """Read the account; a key is missing only where a server's own table names one.

    Raises:
        ConfigurationError: the address, the key or the lane is malformed, or the key is trusted more than the address.
    """
    settings = settings.for_account()
    key, url = settings.api_key("OLLAMA_API_KEY"), read_address(settings)
    table = settings.tables.get(settings.provider_name or "")
    wanted = table is not None and bool(table.api_key_env)
    return Account(
        base_url=url,
        model=settings.model("OLLAMA_MODEL", default=DEFAULT_MODEL),
        key=key,
        credential=settings.credential(key, url, default=DEFAULT_URL),
        missing=settings.missing("OLLAMA_API_KEY") if wanted and key is None else None,
        transport=read_transport(settings, "OLLAMA_TRANSPORT", url),
    )
