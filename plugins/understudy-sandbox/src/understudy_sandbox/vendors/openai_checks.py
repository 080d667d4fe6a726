"""What OpenAI's API turns away before any model sees it, so that a caller who gets it wrong is seen here too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy_sandbox.exchange import RecordedRequest
from understudy_sandbox.vendors import openai_input, openai_schemas
from understudy_sandbox.vendors.openai_problem import Problem, missing, unsupported
from understudy_sandbox.vendors.openai_reasoning import most_tokens, reasoning, wrong_effort

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MODELS = "/v1/models"
UNKNOWN_MODEL = "no-such-model"
#: The fields that the SDK's CompletionCreateParams and ResponseCreateParams (3.57.0) know.
_BOTH = (
    "access_programs include metadata model moderation parallel_tool_calls prompt_cache_key prompt_cache_options "
    "prompt_cache_retention safety_identifier service_tier store stream stream_options temperature tool_choice tools "
    "top_logprobs top_p user"
)
_CHAT_ONLY = (
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages "
    "modalities n prediction presence_penalty reasoning_effort response_format seed stop verbosity web_search_options"
)
_RESPONSES_ONLY = (
    "background background_options context_management conversation image input instructions max_output_tokens "
    "max_tool_calls previous_response_id prompt reasoning text truncation"
)
_FIELDS = {CHAT: frozenset(f"{_BOTH} {_CHAT_ONLY}".split()), RESPONSES: frozenset(f"{_BOTH} {_RESPONSES_ONLY}".split())}
#: The least and the most that a number may be; those without a most are counts of tokens.
_RANGES: Mapping[str, tuple[int, int | None]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "max_tokens": (1, None),
    "max_completion_tokens": (1, None),
    "max_output_tokens": (16, None),
}
#: These never reasoned and refuse to be told how much; what other names mean is not known here.
_NOT_REASONING = re.compile(r"gpt-(3|4)|chatgpt-")
_NEEDS_RESPONSES = (5, 6)  # reported for function tools with reasoning from gpt-5.6 on
#: Reported: refused up to gpt-5.4 and by gpt-6-astra, and taken by later ones that do not reason.
_TAKES_STOP = (5, 5)


def find_problem(request: RecordedRequest) -> Problem | None:
    """The first thing that the vendor would complain about, or None for a sound request."""
    path = request.path
    if not request.headers.get("authorization", "").removeprefix("Bearer").strip():
        return Problem(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    listing = path == MODELS or path.startswith(f"{MODELS}/")
    if path not in _FIELDS and not listing:
        return Problem(404, f"Invalid URL ({request.method} {path})")
    if request.method != ("GET" if listing else "POST"):
        hint = "(HINT: Perhaps you meant to use a different HTTP method?)"
        return Problem(405, f"Not allowed to {request.method} on {path}. {hint}")
    if listing:
        return _missing_model(path.removeprefix(MODELS).removeprefix("/"))
    if not isinstance(request.json, Mapping):
        return Problem(400, "We could not parse the JSON body of your request: expected an object.")
    account = account_of(request)
    checks: Sequence[Callable[[Mapping[str, Any]], Problem | None]] = (
        lambda body: _wrong_fields(body, path),
        openai_input.wrong_messages if path == CHAT else openai_input.wrong_input,
        lambda body: None if path == CHAT else openai_input.foreign_reasoning(body, account),
        openai_schemas.wrong_tools,
        openai_schemas.wrong_format,
        _wrong_numbers,
        _wrong_for_reasoning_chat if path == CHAT else _wrong_for_reasoning_responses,
    )
    problem = next((found for check in checks if (found := check(request.json)) is not None), None)
    return problem or _missing_model(str(request.json["model"]))


def account_of(request: RecordedRequest) -> str:
    """The account that a request's key belongs to: each key is one of its own."""
    return request.headers.get("authorization", "").removeprefix("Bearer").strip()


def _missing_model(name: str) -> Problem | None:
    if not name.startswith(UNKNOWN_MODEL):
        return None
    message = f"The model `{name}` does not exist or you do not have access to it."
    return Problem(404, message, code="model_not_found")


def _wrong_fields(body: Mapping[str, Any], path: str) -> Problem | None:
    for name in body:
        if name not in _FIELDS[path]:
            return Problem(400, f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if not body.get("model"):
        return missing("model")
    if not isinstance(body["model"], str):
        return Problem(400, "Invalid type for 'model': expected a string.", "model", "invalid_type")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        return Problem(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    return None


def _wrong_numbers(body: Mapping[str, Any]) -> Problem | None:
    for name, (least, most) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        kind = "decimal" if most is not None else "integer"
        if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else int | float):
            return Problem(400, f"Invalid type for '{name}': expected a {kind}.", name, "invalid_type")
        if value < least:
            message = f"Invalid '{name}': {kind} below minimum value. Expected a value >= {least}, but got {value}."
            return Problem(400, message, name, f"{kind}_below_min_value")
        if most is not None and value > most:
            message = f"Invalid '{name}': {kind} above maximum value. Expected a value <= {most}, but got {value}."
            return Problem(400, message, name, f"{kind}_above_max_value")
    most = most_tokens(body)
    for name in ("max_completion_tokens", "max_output_tokens"):
        if most is not None and (body.get(name) or 0) > most:
            wanted = f"Expected a value <= {most}, but got {body[name]} instead."
            message = f"Invalid '{name}': integer above maximum value. {wanted}"
            return Problem(400, message, name, "integer_above_max_value")
    if isinstance(body.get("stop"), list) and len(body["stop"]) > 4:
        message = "Invalid 'stop': array too long. Expected an array with maximum length 4."
        return Problem(400, message, "stop", "array_above_max_length")
    return None


def _wrong_for_reasoning_chat(body: Mapping[str, Any]) -> Problem | None:
    asked = reasoning(body)
    if not asked.model:
        if asked.effort is not None and _NOT_REASONING.match(body["model"]):
            return unsupported("reasoning_effort")
        return None
    if body.get("max_tokens") is not None:
        return unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    if body.get("stop") and (asked.on or asked.version < _TAKES_STOP) and not body["model"].startswith("o1"):
        return unsupported("stop")
    if (problem := wrong_effort(body)) is not None:
        return problem
    if not asked.on:
        return None
    if body.get("tools") and asked.version >= _NEEDS_RESPONSES:
        message = (
            f"Function tools with reasoning_effort are not supported for {body['model']} in {CHAT}. "
            f"To use function tools, use {RESPONSES} or set reasoning_effort to 'none'."
        )
        return Problem(400, message, "reasoning_effort")
    temperature = body.get("temperature")
    if temperature not in (None, 1):
        message = (
            f"Unsupported value: 'temperature' does not support {temperature} with this model. Only the default (1) "
            "value is supported."
        )
        return Problem(400, message, "temperature", "unsupported_value")
    if body.get("top_p") not in (None, 1):
        return unsupported("top_p")
    refused = ("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias")
    return next((unsupported(name) for name in refused if body.get(name)), None)


def _wrong_for_reasoning_responses(body: Mapping[str, Any]) -> Problem | None:
    asked = reasoning(body)
    if not asked.model and asked.effort is not None and _NOT_REASONING.match(body["model"]):
        return unsupported("reasoning.effort")
    if (problem := wrong_effort(body)) is not None:
        return problem
    if asked.on:
        for name in ("temperature", "top_p"):
            if body.get(name) not in (None, 1):  # this API sends no code with it
                return Problem(400, f"Unsupported parameter: '{name}' is not supported with this model.", name)
    return None
