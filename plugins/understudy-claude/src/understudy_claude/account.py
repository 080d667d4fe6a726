"""How an account shows its key."""

from __future__ import annotations

from understudy_toolkit.account import Account


def credentials(account: Account) -> dict[str, str]:
    """Return the headers that carry the key: as Anthropic wants it, and both ways for other addresses.

    Gateways read the one or the other, since Anthropic's SDK has changed between them with 2.0.0. Of two the API itself
    takes X-Api-Key. https://qiita.com/Synthorai/items/01a0067e88747257a4e6, read 2026-11-30
    """
    key = account.key.reveal() if account.key is not None else "none"  # a server without keys looks at none
    if account.is_vendor:
        return {"X-Api-Key": key}
    return {"Authorization": f"Bearer {key}", "X-Api-Key": key}
