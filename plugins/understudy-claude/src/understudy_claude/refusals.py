"""Remembers what a model at an address has refused, so that the next request is right at once."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from understudy import Failure, Request
from understudy_claude.failures import (
    OLDER_VERSION,
    PROVIDER,
    WITH_THOUGHTS,
    WITHOUT_FORCING,
    WITHOUT_SAMPLING,
    WITHOUT_SCHEMAS,
    WITHOUT_SETTINGS,
    WITHOUT_THAT_SCHEMA,
    WITHOUT_TOP_P,
    limit_of,
    most_tokens,
)

_KEPT = (
    *(OLDER_VERSION, WITH_THOUGHTS, WITHOUT_FORCING, WITHOUT_SAMPLING, WITHOUT_SCHEMAS, WITHOUT_SETTINGS),
    *(WITHOUT_THAT_SCHEMA, WITHOUT_TOP_P),
)
_MOST_KEPT = 1000  # facts, a few for each model that is asked; the oldest are forgotten first

Fact = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Known:
    """What a model is known to refuse.

    Args:
        facts: how a request has to be adapted to it.
        most: the most tokens that the model writes; None if no refusal has shown it.
    """

    facts: frozenset[str] = frozenset()
    most: int | None = None

    def adapted(self, request: Request) -> frozenset[str]:
        """Return how a request is adapted: to what is known, and to the refusal of the attempt before."""
        return self.facts if request.adaptation is None else self.facts | {request.adaptation}

    def most_of(self, request: Request) -> int | None:
        """Return how many tokens a request may ask for at most, as far as refusals have shown."""
        limits = [limit for limit in (self.most, most_tokens(request.adaptation)) if limit is not None]
        return min(limits, default=None)


NOTHING_KNOWN = Known()

_lock = threading.Lock()
_facts: OrderedDict[Fact, None] = OrderedDict()
_limits: OrderedDict[tuple[str, str], int] = OrderedDict()


def note(address: str, model: str, request: Request, failure: Failure) -> None:
    """Remember what a failure says about a model, if that holds for other requests too.

    Args:
        address: where the model was asked.
        model: its name.
        request: what it was asked.
        failure: what came of it.
    """
    adaptation, most = failure.adaptation, limit_of(failure.adaptation)
    if adaptation is None or (most is None and adaptation not in _KEPT):
        return
    with _lock:
        if most is not None:
            _limits[address, model] = most
        else:
            _facts[address, model, adaptation, _concerns(adaptation, request)] = None
        while len(_facts) > _MOST_KEPT:
            _facts.popitem(last=False)
        while len(_limits) > _MOST_KEPT:
            _limits.popitem(last=False)


def known(address: str, model: str, request: Request) -> Known:
    """Return what a model is known to refuse of a request."""
    if not _facts and not _limits:
        return NOTHING_KNOWN
    with _lock:
        facts = frozenset(one for one in _KEPT if (address, model, one, _concerns(one, request)) in _facts)
        return Known(facts, _limits.get((address, model)))


def forget() -> None:
    """Forget everything."""
    with _lock:
        _facts.clear()
        _limits.clear()


def _concerns(adaptation: str, request: Request) -> str:
    """Return the part of a request that a refusal is about: another value may be accepted."""
    options: Any = request.options.get(PROVIDER, {})
    options = options if hasattr(options, "get") else {}
    if adaptation == WITHOUT_THAT_SCHEMA:
        return json.dumps(request.output_schema, sort_keys=True, default=dict)
    if adaptation == OLDER_VERSION:
        return repr(options.get("api_version"))
    if adaptation in (WITHOUT_SETTINGS, WITHOUT_FORCING):
        return repr((options.get("thinking"), options.get("effort"), options.get("output_config")))
    return ""
