"""How the same model may still answer, if its refusal says so, and which requests are known to be refused.

No SDK is imported and nothing is sent or read here. Sentences: Cohere's errors page, and
https://github.com/OpenRouterTeam/openrouter-examples/issues/71 for fields that are not known. Read 2026-11-30.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from understudy import Request, ResponseWarning
from understudy_toolkit.refused import remember, remembered

# Each completes "once more, ...", and is in Request.adaptation of the attempt that follows; so does
# f"without {field}", for each field that a request can do without.
WITHIN = "with a limit of at most"  # a number of tokens follows
IN_JSON_MODE = "in JSON mode"  # the schema goes into the prompt
WITHOUT_FORMAT = "without response_format"  # so is it then

_OPTIONAL = (
    *("temperature", "p", "k", "seed", "frequency_penalty", "presence_penalty", "logprobs", "thinking"),
    *("tool_choice", "strict_tools", "safety_mode", "citation_options", "stop_sequences", "priority"),
)
_REFUSES = re.compile(
    r"not supported|unsupported|extraneous key|not a valid field|not (?:available|allowed|permitted)|only one of"
    r"|cannot specify both|must be (?:between|one of|at most)|is invalid|incompatible"
)
_LIMIT = re.compile(r"max[_ ]tokens must be less than or equal to (\d+)")
_OF_FORMAT = re.compile(r"response_?format\b.*not (?:supported|a valid)")
_OF_SCHEMA = re.compile(r"\bschema\b|json_schema|response_?format|must have a type|not found in properties")


def remedy(told: str, sent: Mapping[str, Any]) -> str | None:
    """Return how the same model may still answer; None if its refusal does not say so.

    Args:
        told: the words of the refusal.
        sent: the request's JSON, as it was sent.
    """
    words = told.lower()
    limit, asked = _LIMIT.search(words), sent.get("max_tokens")
    if limit is not None:
        return f"{WITHIN} {limit[1]}" if isinstance(asked, int) and asked > int(limit[1]) > 0 else None
    format_ = sent.get("response_format")
    if isinstance(format_, Mapping) and _OF_FORMAT.search(words):
        return WITHOUT_FORMAT
    if isinstance(format_, Mapping) and _OF_SCHEMA.search(words):
        return IN_JSON_MODE if "json_schema" in format_ or "schema" in format_ else WITHOUT_FORMAT
    if not _REFUSES.search(words):
        return None
    named = [field for field in _OPTIONAL if field in sent and _names(words, field)]
    return f"without {named[-1]}" if named else None


def keep(address: str, model: str, adaptation: str | None) -> None:
    """Keep that a model at an address has to be asked in another way."""
    if adaptation is not None and _is_own(adaptation):
        remember(address, model, adaptation)


def adaptations_of(request: Request, address: str, model: str) -> tuple[str, ...]:
    """Return how a request has to be adapted to a model, as far as that is known."""
    own = (request.adaptation,) if request.adaptation is not None and _is_own(request.adaptation) else ()
    return tuple(dict.fromkeys((*remembered(address, model), *own)))


def adapt(body: dict[str, Any], adaptations: Collection[str], request: Request) -> tuple[ResponseWarning, ...]:
    """Change a request's body to one that is not refused, and return what is lost by that."""
    warnings: list[ResponseWarning] = []

    def lost(setting: str, how: str) -> None:
        warnings.append(ResponseWarning(setting, f"{how}: {body['model']} refused it before"))

    for adaptation in adaptations:
        field = adaptation.removeprefix("without ")
        if adaptation in (IN_JSON_MODE, WITHOUT_FORMAT):
            _loosen(body, adaptation, request, lost)
        elif adaptation.startswith(WITHIN):
            most = int(adaptation.rpartition(" ")[2])
            if isinstance(body.get("max_tokens"), int) and body["max_tokens"] > most:
                lost("max_tokens", f"max_tokens {body['max_tokens']} became {most}, the most that it writes")
                body["max_tokens"] = most
        elif field in body:
            left = body.pop(field)
            if left == "NONE":  # what cannot be called is not shown
                body.pop("tools", None)
            else:
                lost("stop" if field == "stop_sequences" else field, f"{field} was left out")
    return tuple(warnings)


def _loosen(body: dict[str, Any], adaptation: str, request: Request, lost: Any) -> None:
    if "response_format" not in body:
        return
    body["response_format"] = {"type": "json_object"}
    if adaptation == WITHOUT_FORMAT:
        del body["response_format"]
    if request.output_schema is None:
        lost("response_format", "response_format was left out")
        return
    schema = json.dumps(request.output_schema, default=dict, ensure_ascii=False)
    words = f"Answer with JSON alone, which follows this JSON schema:\n{schema}"
    if not any(message.get("content") == words for message in body["messages"]):
        body["messages"].insert(0, {"role": "system", "content": words})
        lost("output_schema", "the schema was put into the prompt, and may not be followed")


def _names(words: str, field: str) -> bool:
    quoted = rf"['\"`\[]{field}['\"`\]]"  # "extraneous key [k] is not permitted", of Bedrock
    return re.search(quoted if len(field) == 1 else rf"(?<![a-z_]){field}(?![a-z_])", words) is not None


def _is_own(adaptation: str) -> bool:
    return adaptation.startswith(WITHIN) or adaptation in {
        *(IN_JSON_MODE, WITHOUT_FORMAT),
        *(f"without {field}" for field in _OPTIONAL),
    }
