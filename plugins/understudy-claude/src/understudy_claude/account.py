"""How an account sends its key."""

from __future__ import annotations

from understudy_toolkit.account import Account

CREDENTIALS = ("Authorization", "X-Api-Key")  # ANTHROPIC_CUSTOM_HEADERS must not send others in their place


def credentials(account: Account) -> dict[str, str]:
    """Return the headers that carry the key: to Anthropic as its SDK sends it, and in both forms to other addresses.

    A server without keys gets none.

    The SDK changed from X-Api-Key to a bearer token in 2.0.0 (anthropic 2.14.0, _client.py), and gateways read one or
    the other. If both are there, the API itself takes X-Api-Key.
    https://qiita.com/Synthorai/items/01a0067e88747257a4e6, read 2026-11-30
    """
    if account.key is None:
        return account.login
    key = account.key.reveal()
    bearer = {"Authorization": f"Bearer {key}"}
    return bearer if account.is_vendor else {**bearer, "X-Api-Key": key}
