"""How an account shows its key."""

from __future__ import annotations

from understudy_toolkit.account import Account


def credentials(account: Account) -> dict[str, str]:
    """Return the headers that carry the key; a server without keys gets none."""
    return account.login | ({} if account.key is None else {"Authorization": f"Bearer {account.key.reveal()}"})
