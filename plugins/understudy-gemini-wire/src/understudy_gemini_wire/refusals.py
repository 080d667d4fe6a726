"""Refusals that show how the same model may still answer, and what models have refused while the process lives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from understudy import Failure, Request, ResponseWarning
from understudy.errors import RequestRefused, UnsupportedRequest
from understudy_gemini_wire.adaptations import (
    JSON_OR_TOOLS,
    SIMPLER_SCHEMAS,
    SYSTEM_FIRST,
    UNFORCED,
    WITHOUT_JSON_MODE,
    WITHOUT_SIGNATURES,
    WITHOUT_THINKING_CONFIG,
    Json,
    adapt,
    with_at_most,
    without,
)
from understudy_gemini_wire.failures import MOST_SEARCHED
from understudy_gemini_wire.options import plain
from understudy_toolkit.refused import remember, remembered

__all__ = ["Refusals", "adaptation_of"]


class _Row(NamedTuple):
    """A refusal that shows how the request can be changed.

    Args:
        words: of its message.
        adaptation: what is changed for it.
        of: what it concerns, and is remembered for: all requests to that model, those with the same schemas, or none
            but this one.
    """

    words: re.Pattern[str]
    adaptation: str
    of: Literal["model", "schemas", "request"] = "model"


def _row(words: str, adaptation: str, of: Literal["model", "schemas", "request"] = "model") -> _Row:
    return _Row(re.compile(words, re.IGNORECASE | re.DOTALL), adaptation, of)


_MISPLACED = r"(?:unknown name|invalid value).{0,80}"
_SAMPLING = without("temperature", "topP", "topK")
_UNTAKEN = r"(?:not (?:be )?(?:supported|enabled|allowed|set)|unsupported|deprecated|no longer)"
# The first row that fits, and would change something, counts. Each source was read on 2026-11-30.
_ROWS: tuple[_Row, ...] = (
    # "Corrupted thought signature.", "Invalid thought signature.", "Thought signature is not valid", "Function call is
    # missing a thought_signature": of another account or model, or changed on the way.
    # https://github.com/decolua/9router/issues/4136 and https://github.com/google-gemini/gemini-cli/issues/13467
    _row(r"thought[ _]?signature", WITHOUT_SIGNATURES, "request"),
    # "Developer instruction is not enabled for models/gemma-3-27b-it": https://github.com/0xPlaygrounds/rig/issues/788
    # "Unknown name "system_instruction": Cannot find field.": https://github.com/fishjar/kiss-translator/issues/256
    _row(r"developer instruction", SYSTEM_FIRST),
    _row(rf"system[ _]?instructions?\b.{{0,40}}{_UNTAKEN}|unknown name .{{0,2}}system_?instruction", SYSTEM_FIRST),
    # "Function calling with a response mime type: 'application/json' is unsupported", "Tool use with a response ...":
    # https://github.com/symfony/ai/issues/803 and https://github.com/snailyp/gemini-balance/issues/264
    _row(r"(?:function calling|tool use) with a response mime type", JSON_OR_TOOLS),
    # "JSON mode is not enabled for models/gemma-3-27b-it":
    # https://github.com/FirebaseExtended/compass-ai-travel-planning-sample-flutter/pull/40
    _row(rf"json mode.{{0,20}}{_UNTAKEN}|unknown name .{{0,2}}response_?mime_?type", WITHOUT_JSON_MODE),
    # "Function calling mode `ANY` is not enabled for api version v1beta":
    # https://github.com/google-gemini/deprecated-generative-ai-js/issues/241
    _row(rf"function calling mode.{{0,10}}any.{{0,20}}{_UNTAKEN}", UNFORCED),
    # "The thinking budget (52428) is invalid.", "thinking_budget is out of range; supported values are integers from 1
    # to 24576.", "Budget 0 is invalid. This model only works in thinking mode.", "You can only set only one of thinking
    # budget and thinking level.": https://github.com/RooCodeInc/Roo-Code/issues/4399,
    # https://github.com/lbjlaq/Antigravity-Manager/pull/1375, https://github.com/vercel/ai/issues/8027 and
    # https://github.com/sterlp/eclipse-peon-ai/issues/115
    _row(r"budget.{0,20}(?:invalid|out of range)|only works in thinking mode", WITHOUT_THINKING_CONFIG, "request"),
    _row(r"only one of thinking|thinking.{0,40}\b(?:minimal|low|medium|high)\b", WITHOUT_THINKING_CONFIG, "request"),
    # "Thinking level is not supported for this model.", "Unable to submit request because thinking_level is not
    # supported by this model.", "Thinking budget is not supported for this model.":
    # https://github.com/RooCodeInc/Roo-Code/issues/10700, https://github.com/google-gemini/gemini-cli/issues/14025 and
    # https://github.com/aduermael/herm/issues/23
    _row(
        rf"(?:thinking|thoughts).{{0,40}}{_UNTAKEN}|unknown name .{{0,2}}(?:thinking|include_?thoughts)",
        WITHOUT_THINKING_CONFIG,
    ),
    # "Penalty is not enabled for this model": https://github.com/vercel/ai/issues/4022
    _row(rf"penalty.{{0,20}}{_UNTAKEN}", without("presencePenalty", "frequencyPenalty")),
    # "Logprobs is not enabled for models/gemini-2.5-flash-lite", "... is not supported for the current model.":
    # https://github.com/mscraftsman/generative-ai/issues/135
    _row(rf"logprobs.{{0,20}}{_UNTAKEN}", without("responseLogprobs", "logprobs")),
    # "Multiple candidates is not enabled for this model", "candidateCount must be 1 but the entered value was 3":
    # https://github.com/googleapis/js-genai/issues/1609 and https://github.com/genkit-ai/genkit/issues/546
    _row(rf"multiple candidates.{{0,20}}{_UNTAKEN}|candidate_?count", without("candidateCount")),
    # Announced for models to come: https://ai.google.dev/gemini-api/docs/whats-new-gemini-3.6
    _row(rf"\b(?:temperature|top_?[pk]|sampling)\b.{{0,60}}{_UNTAKEN}", _SAMPLING),
    _row(rf"(?:{_UNTAKEN}|unknown name|not support).{{0,40}}\b(?:temperature|top_?[pk])\b", _SAMPLING),
    # "Unknown name "parametersJsonSchema" at 'tools[0].function_declarations[0]': Cannot find field."
    # https://github.com/lbjlaq/Antigravity-Manager/pull/1312
    _row(r"unknown name .{0,2}(?:response|parameters)_?json_?schema", SIMPLER_SCHEMAS),
    # "The specified schema produces a constraint that has too many states for serving.": of much text, long lists,
    # limits of numbers. https://github.com/cline/cline/issues/7897. "A schema in GenerationConfig in the request
    # exceeds the maximum allowed nesting depth.", "FunctionDeclaration 'x' in the request exceeds ...":
    # https://github.com/presenton/presenton/issues/323 and https://github.com/zereight/gitlab-mcp/issues/223
    _row(r"too many states|nesting depth", SIMPLER_SCHEMAS, "schemas"),
    # "Unknown name "exclusiveMinimum" at 'tools[0].function_declarations[6].parameters.properties[3]': Cannot find
    # field.": https://github.com/pizza-bot-app/pizza-bot/issues/62 (so for const, $schema, $ref, additionalProperties:
    # https://github.com/zed-industries/zed/issues/44875). "one or more response schemas specified unsupported field
    # min_length": https://github.com/GoogleCloudPlatform/vertex-ai-samples/issues/3618. "`x` functionDeclaration
    # `parameters.y` schema didn't specify the schema type field": https://github.com/google-gemini/gemini-cli/issues/2282
    _row(
        r"(?:unknown name|invalid value).{0,80}at '[\w.\[\]]*(?:function_?declarations|schema)",
        SIMPLER_SCHEMAS,
        "schemas",
    ),
    _row(r"function_?declarations?\b.{0,120}schema|(?:response|parameters?) schemas?\b", SIMPLER_SCHEMAS, "schemas"),
    _row(r"schema\b.{0,60}(?:unsupported|not supported|invalid|type field|undefined)", SIMPLER_SCHEMAS, "schemas"),
    _row(r"function_declarations\[\d+\]\.parameters|response_(?:json_)?schema", SIMPLER_SCHEMAS, "schemas"),
    _row(r"only allowed for \w+ type|\$ref\b|\$defs\b", SIMPLER_SCHEMAS, "schemas"),
)
# "it has a maxOutputTokens value of 655360 but the supported range is from 1 (inclusive) to 8193 (exclusive)":
# https://github.com/stackblitz-labs/bolt.diy/issues/955
_RANGE = re.compile(
    r"max_?output_?tokens.{0,80}range is from \d+ \(inclusive\) to (\d+) \((in|ex)clusive\)", re.I | re.S
)
# "Unknown name "outputMimeType" at 'generation_config.image_config': Cannot find field.": of a server, or a version of
# the API, that does not have a member. https://github.com/agentjido/req_llm/pull/517
_UNKNOWN_MEMBER = re.compile(r"unknown name \W?(\w+)\W? at 'generation_?config(?:\.(\w+))?", re.I)


def adaptation_of(message: str, sent: Json, unable: Collection[str] = ()) -> tuple[str, str] | None:
    """Return how the same model may still answer a refused request, and what that concerns.

    Args:
        message: the refusal's words.
        sent: the request's JSON.
        unable: adaptations that cannot be made.

    Returns:
        The adaptation, and "model", "schemas" or "request"; None where the words tell of none that would change it.
    """
    message = message[:MOST_SEARCHED]
    for row in (*_told_by(message), *_ROWS):
        if row.adaptation not in unable and row.words.search(message) and _changes(sent, row.adaptation):
            return row.adaptation, row.of
    return None


def _told_by(message: str) -> list[_Row]:
    """Return rows of adaptations whose words are in the message themselves."""
    rows = []
    limit = _RANGE.search(message)
    if limit is not None:
        rows.append(_Row(_RANGE, with_at_most(int(limit[1]) - (limit[2].lower() == "ex"))))
    for name, inner in _UNKNOWN_MEMBER.findall(message):
        member = re.sub(r"_(\w)", lambda found: found[1].upper(), inner or name)
        if "schema" not in member.lower() and member != "responseMimeType":
            rows.append(_Row(_UNKNOWN_MEMBER, without(member)))
    return rows


def _changes(sent: Json, adaptation: str) -> bool:
    changed = plain(sent)
    adapt(changed, (adaptation,))
    return bool(changed != sent)


class Refusals:
    """What the models at one address have refused, as long as the process lives.

    Args:
        address: where they are asked.
        unable: adaptations that cannot be made.
    """

    def __init__(self, address: str, unable: Collection[str] = ()) -> None:
        self._address, self._unable = address, unable

    def refuses_thinking_config(self, model: str, request: Request) -> bool:
        """Return whether a model is not to be told how much to think."""
        known = remembered(self._address, model)
        return WITHOUT_THINKING_CONFIG in known or request.adaptation == WITHOUT_THINKING_CONFIG

    def adapt(self, body: Json, model: str, request: Request) -> tuple[ResponseWarning, ...]:
        """Change a request's JSON by what its model has refused before, and by its own adaptation.

        Args:
            body: the JSON; it is changed.
            model: the model that will be asked.
            request: what is asked.

        Returns:
            A warning for each thing that is sent otherwise than it was asked for.
        """
        words = dict.fromkeys(remembered(self._address, model))
        words |= dict.fromkeys(remembered(self._address, model, _schemas_of(body)))
        if request.adaptation is not None and request.adaptation not in self._unable:
            words[request.adaptation] = None
        return adapt(body, words, request) if words else ()

    def mend(self, failure: Failure, model: str, sent: Json) -> Failure:
        """Add to a refusal how the request can be changed, if its words show it, and remember that.

        Args:
            failure: what the vendor said.
            model: the model that was asked.
            sent: the request's JSON.

        Returns:
            The same failure.
        """
        if not isinstance(failure, RequestRefused | UnsupportedRequest):
            return failure
        found = adaptation_of(failure.message, sent, self._unable)
        if found is not None:
            failure.adaptation, of = found
            if of != "request":
                remember(self._address, model, failure.adaptation, _schemas_of(sent) if of == "schemas" else "")
        return failure

    def mender(self, model: str, sent: Json) -> Callable[[Failure], Failure]:
        """Return `mend` for one request."""
        return lambda failure: self.mend(failure, model, sent)


def _schemas_of(body: Json) -> str:
    """Return what tells one request's schemas from another's; "" where there are none."""
    config = body.get("generationConfig")
    config = config if isinstance(config, Mapping) else {}
    schemas: list[Any] = [body.get("tools"), config.get("responseJsonSchema"), config.get("responseSchema")]
    if not any(schemas):
        return ""
    return blake2b(json.dumps(schemas, default=dict, sort_keys=True).encode("utf-8", "replace")).hexdigest()
