"""Chooses the lane for an account, from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from understudy_toolkit.account import Account
from understudy_toolkit.http import HttpLane
from understudy_toolkit.lanes import Lane
from understudy_toolkit.sdk_lane import SdkLane

__all__ = ["lane_of"]


def lane_of(
    account: Account,
    module: str,
    credentials: Callable[[], Mapping[str, str]],
    given: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Lane:
    """Return the lane that an account is asked on.

    Args:
        account: whose requests they are, and where they go.
        module: the name of the plugin's `sdk.py`.
        credentials: returns the headers that carry the key, for the http lane.
        given: what the functions of `sdk.py` are given where that is more than the account.
        headers: what every request carries besides on the http lane, as the SDK has it.
    """
    if account.transport == "http":
        return HttpLane(account.base_url, credentials, {**(headers or {}), **account.headers})
    return SdkLane(module, account if given is None else given)
