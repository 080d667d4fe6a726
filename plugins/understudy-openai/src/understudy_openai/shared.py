"""What Chat Completions and the Responses API have in common: options, ids, attachments, and the end of a reply.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from understudy import (
    Failure,
    File,
    FinishReason,
    Image,
    LLMResponse,
    Message,
    Part,
    Request,
    ResponseWarning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from understudy.errors import AnswerCutShort, EmptyResponse, InvalidRequest, MalformedResponse
from understudy.provider import structured_output
from understudy_openai.failures import error_in, failure_of_reply, numeric_status, request_id_of
from understudy_openai.models import FAMILY, Endpoint
from understudy_openai.reasoning import room
from understudy_openai.stops import cut_parts
from understudy_toolkit.bodies import excerpt, read_json
from understudy_toolkit.thinking import MORE_ROOM, can_have_more_room, check_room

Json = dict[str, Any]
Warnings = tuple[ResponseWarning, ...]

_GOOD_ID = re.compile(r"[A-Za-z0-9_.:-]{1,40}")  # longer ones are refused
_GOOD_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
# What a strict schema may hold, as OpenAI's guide to structured outputs lists it, read 2026-11-23.
_STRICT_WORDS = frozenset(
    [
        *("type", "title", "description", "properties", "required", "additionalProperties", "items", "enum", "const"),
        *("anyOf", "$ref", "$defs", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        *("multipleOf", "minItems", "maxItems"),
    ]
)
# What a reply, or a piece of one, raises here when it has not the shape that the API promises.
WRONG_SHAPE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


# ---- the request ----


def options_of(request: Request, endpoint: Endpoint) -> Mapping[str, Any]:
    """Return the request's options for this endpoint: those under its own name, else those for openai.

    Raises:
        InvalidRequest: they are no mapping, or hold what cannot be asked for so.
    """
    name = endpoint.name if endpoint.name in request.options else FAMILY
    options = request.options.get(name, {})
    if not isinstance(options, Mapping):
        raise InvalidRequest(
            f"expected options[{name!r}] as a mapping such as {{'seed': 5}}, found {type(options).__name__}",
            provider=endpoint.name,
        )
    if "stream" in options:
        raise InvalidRequest(
            f"expected options[{name!r}] without 'stream': call stream() or astream() instead", provider=endpoint.name
        )
    if options.get("api", "chat") not in ("chat", "responses"):
        raise InvalidRequest(
            f"expected options[{name!r}]['api'] as 'chat' or 'responses', found {options['api']!r}",
            provider=endpoint.name,
        )
    return options


def nothing_to_send(endpoint: Endpoint) -> InvalidRequest:
    """Return the failure of a request whose messages are all empty."""
    return InvalidRequest("expected a message with some content, found only empty texts", provider=endpoint.name)


def attachment_warnings(message: Message) -> Warnings:
    """Return a warning where an assistant's message holds what neither API takes from an assistant."""
    if not any(isinstance(part, Image | File) for part in message.parts):
        return ()
    lost = "images and files in an assistant's message were left out: OpenAI's API takes them from the user only"
    return (ResponseWarning("messages", lost),)


def own_data(part: Part, endpoint: Endpoint) -> Json:
    """Return what this endpoint alone understands of a part; `item` is for the Responses API, `account` for nobody."""
    own = part.provider_data.get(endpoint.name, {})
    return {name: value for name, value in own.items() if name not in ("item", "account")}


def data_url(part: Image | File) -> str:
    """Return an attachment's bytes as a URL."""
    return f"data:{part.media_type};base64,{base64.b64encode(part.data or b'').decode('ascii')}"


def text_of_file(part: File) -> str | None:
    """Return the text of a file that is text, which every model takes; None where it is something else."""
    if part.data is None or part.media_type is None or not part.media_type.startswith("text/"):
        return None
    text = part.data.decode("utf-8", "replace")
    return f"{part.name}:\n\n{text}" if part.name else text


def identifier(call_id: str, endpoint: Endpoint) -> str:
    """Return the id of a tool call in a form that this endpoint accepts: another vendor may have made it."""
    good = _GOOD_SHORT_ID if endpoint.short_ids else _GOOD_ID
    return call_id if good.fullmatch(call_id) else hashlib.sha256(call_id.encode()).hexdigest()[:9]


def result_text(result: ToolResult) -> str:
    """Return the text of a tool's result; an error is marked in it, because neither API has a field for that."""
    return f"Error: {result.text}" if result.is_error else result.text


def describe_tool(tool: Tool) -> Json:
    """Return a tool's name, description and parameters."""
    described: Json = {"name": tool.name, "parameters": dict(tool.parameters)}
    if tool.description:
        described["description"] = tool.description
    return described


def describe_schema(schema: Mapping[str, Any]) -> Json:
    """Return an output schema under a name, as the API wants one; followed strictly where it is one that can be."""
    return {"name": "answer", "schema": dict(schema), "strict": schema.get("type") == "object" and _is_strict(schema)}


def _is_strict(schema: Any) -> bool:
    """Tell a schema that the API takes with strict: closed objects, every property required, known words only."""
    if not isinstance(schema, Mapping) or not set(schema) <= _STRICT_WORDS:
        return False
    properties = schema.get("properties", {})
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties)
    ):
        return False
    inner = [*properties.values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    return all(map(_is_strict, inner)) and ("items" not in schema or _is_strict(schema["items"]))


# ---- the reply ----


@contextmanager
def reading(body: Any, promised: str, headers: Mapping[str, str], endpoint: Endpoint) -> Iterator[None]:
    """Read a reply: every failure in it gets the provider's name, every other shape is a malformed response.

    Args:
        body: the reply's JSON, parsed.
        promised: the field that every answer has, and no error.
        headers: the reply's headers.
        endpoint: who was asked.
    """
    request_id = request_id_of({name.lower(): value for name, value in headers.items()})
    try:
        if not isinstance(body, Mapping) or not body.get(promised):
            raise _no_answer(body, promised, headers, endpoint)
        yield
    except Failure as failure:
        failure.provider, failure.request_id = endpoint.name, request_id
        raise
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected an answer, found another shape ({type(error).__name__}: {error}) in {excerpt(body)}",
            provider=endpoint.name,
            request_id=request_id,
        ) from error


def _no_answer(body: Any, promised: str, headers: Mapping[str, str], endpoint: Endpoint) -> Failure:
    error = error_in(body)
    if error is not None and numeric_status(error) is not None:  # OpenRouter's form of an error from further on
        return failure_of_reply(endpoint.name, 200, headers, body)
    return MalformedResponse(f"expected an answer with {promised}, found {excerpt(body)}", status=200)


def answer(
    body: Mapping[str, Any],
    parts: Sequence[Part],
    finish_reason: FinishReason,
    request: Request,
    endpoint: Endpoint,
    *,
    headers: Mapping[str, str],
    metadata: Json,
    usage: Usage | None,
    warnings: Warnings,
    given: bool,
) -> LLMResponse:
    """Return the parts of a reply as an answer, up to the first stop text.

    Raises:
        EmptyResponse: neither text nor a tool call is among them.
        AnswerCutShort: reasoning used up the limit before the text was complete, and more room may help.
        MalformedResponse: it is no JSON, where a schema asked for some.
    """
    thought = bool(usage and usage.thinking_tokens) or any(isinstance(part, Thinking) and part.text for part in parts)
    starved = thought and finish_reason is FinishReason.LENGTH
    parts, stop = cut_parts(parts, request.stop)
    if stop is not None:
        finish_reason, metadata = FinishReason.STOP, {**metadata, "cut_at_stop_text": stop}
    text = "".join(part.text for part in parts if isinstance(part, Text))
    called = any(isinstance(part, ToolCall) for part in parts)
    if called and finish_reason is FinishReason.STOP:
        finish_reason = FinishReason.TOOL_CALLS  # where one tool was forced, the API itself says stop
    if not text.strip() and not called and finish_reason is not FinishReason.PAUSED:
        raise _empty(request, endpoint, finish_reason, usage, starved=starved and stop is None, given=given)
    warnings += _room_warnings(request, endpoint, finish_reason, usage, thought=thought, given=given)
    return LLMResponse(
        True,
        text,
        endpoint.name,
        metadata={name: value for name, value in metadata.items() if value is not None},
        model=body.get("model"),
        finish_reason=finish_reason,
        usage=usage,
        parts=tuple(parts),
        structured=structured_output(request, text, finish_reason),
        warnings=warnings,
        request_id=request_id_of({name.lower(): value for name, value in headers.items()}),
    )


def _empty(
    request: Request,
    endpoint: Endpoint,
    finish_reason: FinishReason,
    usage: Usage | None,
    *,
    starved: bool,
    given: bool,
) -> EmptyResponse:
    if not starved:
        why = ": max_tokens was used up before" if finish_reason is FinishReason.LENGTH else ""
        return EmptyResponse(f"neither text nor a tool call came{why}", usage=usage)
    told = f"{usage.thinking_tokens} tokens of reasoning" if usage and usage.thinking_tokens else "reasoning"
    more = not given and _can_have_more_room(request, endpoint)
    return EmptyResponse(
        f"neither text nor a tool call came: max_tokens was used up before by {told}, which counts within the limit; "
        f"raise max_tokens, or lower the effort: options={{{endpoint.name!r}: {{'effort': 'low'}}}}",
        adaptation=MORE_ROOM if more else None,
        usage=usage,
    )


def _room_warnings(
    request: Request,
    endpoint: Endpoint,
    finish_reason: FinishReason,
    usage: Usage | None,
    *,
    thought: bool,
    given: bool,
) -> Warnings:
    """Return a warning where reasoning used up the limit, and more room would not help.

    Raises:
        AnswerCutShort: it did, and more room may help.
    """
    more = not given and _can_have_more_room(request, endpoint)
    is_counted = usage is not None and usage.thinking_tokens > 0
    cut = thought and finish_reason is FinishReason.LENGTH and request.max_tokens is not None
    if not cut or is_counted or room(request, request.model or "", options_of(request, endpoint)):
        return check_room(request, finish_reason, usage, thought=thought, given=not more)
    words = f"reasoning took a part of the limit: the answer was cut before it had {request.max_tokens} tokens"
    if more:
        raise AnswerCutShort(words, adaptation=MORE_ROOM, usage=usage)
    return (ResponseWarning("max_tokens", words),)


def _can_have_more_room(request: Request, endpoint: Endpoint) -> bool:
    return can_have_more_room(request, lambda asked: room(asked, asked.model or "", options_of(asked, endpoint)))


def models_of(body: Any, headers: Mapping[str, str], endpoint: Endpoint) -> tuple[str, ...]:
    """Return the names of the models in a reply to a question for them.

    Compatible servers send {"data": [{"id": ...}]} as OpenAI does, or the list alone (Together), and some other names.
    """
    listed = body.get("data", body.get("models")) if isinstance(body, Mapping) else body
    if not isinstance(listed, list) or not all(isinstance(model, Mapping) for model in listed):
        raise MalformedResponse(
            f"expected a list of models under data, found {excerpt(body)}",
            provider=endpoint.name,
            request_id=request_id_of({name.lower(): value for name, value in headers.items()}),
        )
    names = (model.get("id") or model.get("name") for model in listed)
    return tuple(name for name in names if isinstance(name, str))


def read_arguments(name: str, arguments: Any, finish_reason: FinishReason) -> Mapping[str, Any] | ResponseWarning:
    """Return a tool call's arguments, parsed; or a warning that they were cut, after which the call is left out.

    Raises:
        ValueError: they are no JSON object, although they were not cut.
    """
    if isinstance(arguments, Mapping):
        return arguments  # some compatible servers parse them
    try:
        parsed = read_json(arguments or "{}")
    except ValueError:
        if finish_reason is not FinishReason.LENGTH:
            raise
        lost = f"the call of {name} was left out: its arguments were cut at the token limit"
        return ResponseWarning("max_tokens", lost)
    if not isinstance(parsed, Mapping):
        raise TypeError(f"arguments of {name} are not an object")
    return parsed


def count_tokens(counted: Any, read: str, written: str) -> Usage | None:
    """Return the tokens that a reply cost; None where the server does not tell.

    Args:
        counted: the reply's usage.
        read: what the API calls tokens read: "prompt" or "input".
        written: what it calls tokens written: "completion" or "output".
    """
    if not counted:
        return None
    details, thought = counted.get(f"{read}_tokens_details") or {}, counted.get(f"{written}_tokens_details") or {}
    prompt, answered = int(counted.get(f"{read}_tokens") or 0), int(counted.get(f"{written}_tokens") or 0)
    reasoned = int(thought.get("reasoning_tokens") or 0)
    apart = reasoned and counted.get("total_tokens") == prompt + answered + reasoned  # xAI's way: vercel/ai#12425
    return Usage(
        input_tokens=prompt,
        output_tokens=answered + reasoned if apart else answered,
        thinking_tokens=reasoned,
        cache_read_tokens=int(details.get("cached_tokens") or 0),
        cache_write_tokens=int(details.get("cache_write_tokens") or 0),
    )
