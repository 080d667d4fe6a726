"""Random policies and limits: the presets, with one number or several changed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from understudy import Policy
from understudy.limits import Limits

CHOICES: dict[str, tuple[Any, ...]] = {
    "max_retries": (0, 1, 2, 12),
    "retry_delay": (0.0, 0.5, 2.0),
    "max_delay": (1.0, 8.0, 20.0),
    "jitter": ("none", "full"),
    "switch_first": (True, False),
    "quick_retries": (0, 1, 2),
    "deadline": (None, 5.0, 20.0, 60.0),
    "attempt_timeout": (3.0, 10.0, 30.0),
    "first_token_timeout": (3.0, 10.0),
    "idle_timeout": (2.0, 10.0),
    "silence_timeout": (5.0, 20.0),
    "whole_answers": ("stream", "plain"),
    "switch_on_content_blocked": (True,),
    "switch_on_length": (True,),
    "stream_recovery": ("restart", "restart", "continue", "buffer"),
    "buffer_tokens": (2, 5),
    "breaker": (False,),
    "breaker_failures": (2, 3, 5),
    "breaker_rate": (0.3, 0.9),
    "breaker_window": (5.0, 10.0),
    "breaker_requests": (1, 2, 3),
    "breaker_open": (1.0, 5.0, 10.0),
    "breaker_longest": (10.0, 60.0),
    "breaker_jitter": (0.0, 0.5),
    "breaker_successes": (1, 3),
    "quota_cooldown": (True, False),
    "quota_calls": (1, 2),
    "refusal_cooldown": (None, 2.0, 10.0),
    "longest_hint": (10.0, 60.0),
    "rate_limit_cooldown": (0.5, 2.0),
    "exhausted_cooldown": (5.0, 20.0),
    "longest_cooldown": (60.0, 200.0),
    "retry_budget": (0.0, 0.5),
    "retry_reserve": (0.0, 0.1, 1.0),
    "max_concurrent_calls": (3, 10),
    "routing": ("fastest",),
    "hedge_after": (None, 0.5, 1.0, 3.0, "p95", "late"),
    "hedge_share": (0.05, 0.5, 1.0),
}
# Numbers under which a world is quiet again within minutes, not after the hours that an empty account is left alone.
QUICK: dict[str, Any] = {
    "longest_hint": 60.0,
    "exhausted_cooldown": 30.0,
    "longest_cooldown": 120.0,
}


def random_policy(draw: Random) -> Policy:
    """Draw a policy: one of the presets, as it is or with some numbers changed."""
    preset = draw.choice((Policy.patient, Policy.eager))
    changes = dict(QUICK)
    for name in draw.sample(sorted(CHOICES), draw.choice((0, 0, 2, 4, 8))):
        changes[name] = draw.choice(CHOICES[name])
    if "switch_on_content_blocked" in changes:
        changes["switch_on_refusal"] = False
    return preset(**changes)


def random_limits(draw: Random, names: Sequence[str]) -> dict[str, Limits]:
    """Draw the limits of some targets; mostly there are none."""
    if draw.random() < 0.8:
        return {}
    return {
        name: Limits(
            requests_per_minute=draw.choice((None, 5, 20)),
            tokens_per_minute=draw.choice((None, 20_000)),
            concurrent=draw.choice((None, 2)),
        )
        for name in draw.sample(list(names), draw.randint(1, len(names)))
    }
