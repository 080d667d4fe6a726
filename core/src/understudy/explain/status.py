"""What `LLMFactory.get_provider_status` returns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from understudy.health.store import TargetHealth
from understudy.provider import ChatProvider

logger = logging.getLogger("understudy")


def status_of(
    labels: Sequence[str], providers: Sequence[ChatProvider], health: Sequence[TargetHealth], latest: str | None
) -> dict[str, Any]:
    """Return the providers on the route, whether each can be asked, and their health; see
    `LLMFactory.get_provider_status`.

    Args:
        labels: the targets.
        providers: the provider of each.
        health: that of each.
        latest: who gave the latest answer; None before any.
    """
    seats: list[dict[str, Any]] = [
        {"name": label, "available": _is_available(provider), "health": _describe(each)}
        for label, provider, each in zip(labels, providers, health, strict=True)
    ]
    if latest is None:
        able = [seat for seat in seats if seat["available"]]
        ready = [seat for seat in able if not seat["health"]["free_in"]]
        latest = next((seat["name"] for seat in ready or able), None)
    return {"primary": seats[0], "fallbacks": seats[1:], "current": latest}


def _is_available(provider: ChatProvider) -> bool:
    try:
        return bool(provider.is_available())
    except Exception as error:
        logger.warning("%s: is_available() raised %s", provider.get_provider_name(), type(error).__name__)
        return False


def _describe(health: TargetHealth) -> dict[str, Any]:
    until = None
    if 0 < health.free_in < float("inf"):
        until = (datetime.now(UTC) + timedelta(seconds=health.free_in)).isoformat(timespec="seconds")
    return {
        "state": health.state.value,
        "free_in": health.free_in,
        "until": until,
        "failures": health.failures,
        "latency": health.answers.seconds,
        "latency_p95": health.answers.p95,
        "first_token": health.first_tokens.seconds,
        "first_token_p95": health.first_tokens.p95,
        "failing": health.failing,
        "left": health.left,
    }
