"""Remembers what a model at an address has refused, so that the next request is right at once."""

from __future__ import annotations

import json
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
from understudy_toolkit.refused import remember, remembered

_KEPT = (
    *(OLDER_VERSION, WITH_THOUGHTS, WITHOUT_FORCING, WITHOUT_SAMPLING, WITHOUT_SCHEMAS, WITHOUT_SETTINGS),
    *(WITHOUT_THAT_SCHEMA, WITHOUT_TOP_P),
)


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


def note(address: str, model: str, request: Request, failure: Failure) -> None:
    """Remember what a failure says about a model, if that holds for other requests too.

    Args:
        address: where the model was asked.
        model: its name.
        request: what it was asked.
        failure: what came of it.
    """
    adaptation = failure.adaptation
    if adaptation in _KEPT or limit_of(adaptation) is not None:
        remember(address, model, str(adaptation), _concerns(str(adaptation), request))


def known(address: str, model: str, request: Request) -> Known:
    """Return what a model is known to refuse of a request."""
    facts = frozenset(one for one in _KEPT if one in remembered(address, model, _concerns(one, request)))
    told = (limit_of(one) for one in remembered(address, model))
    return Known(facts, min((limit for limit in told if limit is not None), default=None))


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
