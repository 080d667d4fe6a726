"""How the same model may still answer, if its refusal says so, and which requests are known to be refused.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from understudy import Request, ResponseWarning

# Each completes "once more, ...", and is in Request.adaptation of the attempt that follows.
WITHOUT_THINK = "without think"  # the field is left out: a model that can think then does, and others answer
IN_JSON_MODE = "in JSON mode"  # format "json", the schema in the prompt
WITHOUT_FORMAT = "without format"  # the schema in the prompt alone

# A model without thinking, or without the level that is asked for: https://github.com/charmbracelet/crush/issues/2623,
# https://github.com/ollama/ollama/issues/17859; read 2026-11-30.
_OF_THINKING = re.compile(r"does not support thinking|think value .* is not supported|invalid think value")
# A schema of which no grammar can be made: https://github.com/ollama/ollama/issues/8185 and 17957,
# https://github.com/datalab-to/marker/issues/984; a server before 0.5: https://github.com/ollama/ollama-python/issues/367;
# read 2026-11-30.
_OF_FORMAT = re.compile(
    r"invalid json schema|invalid format\b|pars\w+ grammar|failed to (?:load|initialize) (?:grammar|samplers)"
    r"|struct field \w+\.format\b"
)

_MOST = 4096  # remembered refusals: far more than the models that a process asks
# By address, model and adaptation; single operations on it are thread-safe.
_known: dict[tuple[str, str, str], None] = {}


def remedy(told: str, sent: Mapping[str, Any]) -> str | None:
    """Return how the same model may still answer; None if its refusal does not say so.

    Args:
        told: the words of the refusal.
        sent: the request's JSON, as it was sent.
    """
    words = told.lower()
    if "think" in sent and _OF_THINKING.search(words):
        return WITHOUT_THINK
    if "format" in sent and _OF_FORMAT.search(words):
        return WITHOUT_FORMAT if sent["format"] == "json" else IN_JSON_MODE
    return None


def is_of_format(told: str) -> bool:
    """Return whether a refusal concerns the format that was asked for: the server says so by status 500, too."""
    return _OF_FORMAT.search(told.lower()) is not None


def remember(address: str, model: str, adaptation: str | None) -> None:
    """Remember that a model at an address has to be asked in another way."""
    if adaptation not in (WITHOUT_THINK, IN_JSON_MODE, WITHOUT_FORMAT):
        return
    if len(_known) >= _MOST:
        _known.clear()
    _known[(address, model, adaptation)] = None


def forget() -> None:
    """Forget all refusals: a model that is pulled again may take what it refused before."""
    _known.clear()


def adaptations_of(request: Request, address: str, model: str) -> tuple[str, ...]:
    """Return how a request has to be adapted to a model, as far as that is known."""
    found = [adaptation for (where, name, adaptation) in tuple(_known) if (where, name) == (address, model)]
    return (*found, *([request.adaptation] if request.adaptation is not None else []))


def adapt(
    body: dict[str, Any], adaptations: Collection[str], request: Request, options: Mapping[str, Any]
) -> tuple[ResponseWarning, ...]:
    """Change a request's body to one that is not refused, and return what the caller loses by that.

    Args:
        body: the request's JSON; it is changed.
        adaptations: what to do, as `adaptations_of` returns it.
        request: what was asked.
        options: what the caller wants of Ollama alone.
    """
    warnings: list[ResponseWarning] = []
    if WITHOUT_THINK in adaptations and body.pop("think", None) is not None and "think" in options:
        lost = f"think was left out: {body['model']} refused it before"
        warnings.append(ResponseWarning("think", lost))
    if "format" in body and (IN_JSON_MODE in adaptations or WITHOUT_FORMAT in adaptations):
        body["format"] = "json"
        if WITHOUT_FORMAT in adaptations:
            del body["format"]
        schema = request.output_schema
        if schema is not None:
            words = f"Answer with JSON alone, which follows this JSON schema:\n{json.dumps(schema, default=dict)}"
            body["messages"].insert(0, {"role": "system", "content": words})
        lost = "the schema was put into the prompt, and may not be followed" if schema else "format was left out"
        setting = "format" if schema is None else "output_schema"
        warnings.append(ResponseWarning(setting, f"{lost}: {body['model']} refused it before"))
    return tuple(warnings)
