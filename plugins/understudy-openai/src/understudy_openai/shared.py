"""What Chat Completions and the Responses API have in common: options, ids, attachments, and the end of a reply.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from understudy import (
    Failure,
    File,
    FinishReason,
    Image,
    LLMResponse,
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
from understudy_openai.failures import error_in, failure_of_reply, request_id_of
from understudy_openai.models import FAMILY, Endpoint
from understudy_openai.reasoning import room
from understudy_openai.stops import cut_parts
from understudy_openai.strict import is_strict
from understudy_toolkit.bodies import excerpt, read_json, text_of
from understudy_toolkit.thinking import MORE_ROOM, can_have_more_room, check_room
from understudy_toolkit.tool_calls import checked_arguments

Json = dict[str, Any]
Warnings = tuple[ResponseWarning, ...]

_GOOD_ID = re.compile(r"[A-Za-z0-9_.:-]{1,40}")  # longer ones are refused
_GOOD_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
# What carries a model's reasoning in a message: its text, under the names that compatible servers give it (OpenAI
# shows none here), and what only the server understands: OpenRouter and MiniMax, Google's endpoint, LiteLLM, Copilot.
THINKING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text")
OPAQUE_FIELDS = (
    "reasoning_details",
    "extra_content",
    "thinking_blocks",
    "provider_specific_fields",
    "reasoning_opaque",
)
REASONING_FIELDS = (*THINKING_FIELDS, *OPAQUE_FIELDS)
# Options that are for the request around the body, as OpenAI's SDK calls them.
AROUND = ("api", "extra_headers", "extra_query")
_OWN_HEADERS = ("authorization", "host", "connection", "transfer-encoding", "accept-encoding")
_OF_THE_BODY = ("content-type", "content-length", "content-encoding")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What reading a reply, or a piece of one, raises if it does not have the shape that the API promises.
WRONG_SHAPE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


# ---- the request ----


def options_of(request: Request, endpoint: Endpoint) -> Mapping[str, Any]:
    """Return the request's options for this endpoint: those under its own name, else those for openai.

    Raises:
        InvalidRequest: they are not a mapping, or hold what cannot be asked for so.
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
    return InvalidRequest("expected a message with some content, found only empty text", provider=endpoint.name)


def attachment_warnings(parts: Iterable[Part]) -> Warnings:
    """Return a warning where an assistant's message holds what neither API takes from an assistant."""
    if not any(isinstance(part, Image | File) for part in parts):
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
    return {"name": "answer", "schema": dict(schema), "strict": is_strict(schema)}


def around(options: Mapping[str, Any], endpoint: Endpoint) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and the query that the options add to a request: `extra_headers` and `extra_query`.

    Raises:
        InvalidRequest: they are not mappings of texts, or would take the place of what the connection says itself.
    """
    made = []
    for name in AROUND[1:]:
        told = options.get(name) or {}
        if not isinstance(told, Mapping) or not all(isinstance(one, str) for pair in told.items() for one in pair):
            raise InvalidRequest(f"expected {name} as a mapping of strings, found {told!r:.80}", provider=endpoint.name)
        made.append(dict(told))
    for name, value in made[0].items():
        if name.lower() in (*_OWN_HEADERS, *_OF_THE_BODY) or not _HEADER.fullmatch(name) or not value.isprintable():
            raise InvalidRequest(
                f"expected extra_headers that a request may carry besides its own, found {name[:40]!r}: "
                "a key belongs into the provider's settings",
                provider=endpoint.name,
            )
    return made[0], made[1]


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
    try:
        failure = failure_in(body, headers, endpoint)
        if failure is not None:
            raise failure
        if not isinstance(body, Mapping) or not body.get(promised):
            raise MalformedResponse(f"expected an answer with {promised}, found {shown(body)}", status=200)
        yield
    except Failure as failure:
        failure.provider, failure.request_id = endpoint.name, _request_id_in(headers)
        raise
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected an answer, found another shape ({type(error).__name__}: {error}) in {shown(body)}",
            provider=endpoint.name,
            request_id=_request_id_in(headers),
        ) from error


def _request_id_in(headers: Mapping[str, str]) -> str | None:
    return request_id_of({name.lower(): value for name, value in headers.items()})


def failure_in(body: Any, headers: Mapping[str, str], endpoint: Endpoint) -> Failure | None:
    """Return the failure that a reply with status 200 is, or an event of a stream; None where it is an answer's.

    Args:
        body: the reply's JSON, or the event's, parsed.
        headers: the reply's headers.
        endpoint: who was asked.
    """
    return None if error_in(body) is None else failure_of_reply(endpoint.name, 200, headers, body)


def shown(value: Any) -> str:
    """Return the beginning of what was found, however deep it is."""
    try:
        return excerpt(value)
    except (RecursionError, ValueError):  # a number with more digits than Python writes
        return f"{type(value).__name__} that is too deep or too long to be shown"


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
    """Return the parts of a reply as an answer, up to the first stop sequence.

    Raises:
        EmptyResponse: neither text nor a tool call is among them.
        AnswerCutShort: reasoning used up the limit before the text was complete, and more room may help.
        MalformedResponse: it is not JSON, where a schema asked for some.
    """
    thought = bool(usage and usage.thinking_tokens) or any(isinstance(part, Thinking) and part.text for part in parts)
    starved = thought and finish_reason is FinishReason.LENGTH
    parts, stop = cut_parts(parts, request.stop)
    if stop is not None:
        finish_reason, metadata = FinishReason.STOP, {**metadata, "cut_at_stop_text": stop}
    text = "".join(part.text for part in parts if isinstance(part, Text))
    called = any(isinstance(part, ToolCall) for part in parts)
    pictured = any(isinstance(part, Image | File) for part in parts)
    if called and finish_reason in (FinishReason.STOP, FinishReason.UNKNOWN):
        finish_reason = FinishReason.TOOL_CALLS  # where one tool was forced, the API itself says stop
    if not text.strip() and not called and not pictured and finish_reason is not FinishReason.PAUSED:
        raise _empty(request, endpoint, finish_reason, usage, starved=starved and stop is None, given=given)
    warnings += _room_warnings(request, endpoint, finish_reason, usage, thought=thought, given=given)
    return LLMResponse(
        True,
        text,
        endpoint.name,
        metadata={name: value for name, value in metadata.items() if value is not None},
        model=text_of(body.get("model")),
        finish_reason=finish_reason,
        usage=usage,
        parts=tuple(parts),
        structured=structured_output(request, text, finish_reason),
        warnings=warnings,
        request_id=_request_id_in(headers),
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
    if finish_reason is not FinishReason.LENGTH:
        return ()
    more = not given and _can_have_more_room(request, endpoint)
    is_counted = usage is not None and usage.thinking_tokens > 0
    cut = thought and request.max_tokens is not None
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
            request_id=_request_id_in(headers),
        )
    names = (model.get("id") or model.get("name") for model in listed)
    return tuple(name for name in names if isinstance(name, str))


def read_arguments(name: str, arguments: Any, finish_reason: FinishReason) -> Mapping[str, Any] | ResponseWarning:
    """Return a tool call's arguments, parsed; or a warning that they were cut, after which the call is left out.

    Nothing, null, an empty string and an empty list count as no arguments. Some servers parse them, or write the JSON
    of an object into a JSON text once more; models write line breaks into its strings as they are
    (earendil-works/pi#2981).

    Raises:
        ValueError: they are not JSON, although they were not cut.
        TypeError: they are not an object.
    """
    parsed: Any = arguments
    for _ in range(2):
        if isinstance(parsed, str) and parsed.strip():
            try:
                parsed = read_json(parsed, strict=True)
            except ValueError:
                if finish_reason is not FinishReason.LENGTH:
                    raise
                lost = f"the call of {name} was left out: its arguments were cut at the token limit"
                return ResponseWarning("max_tokens", lost)
    if parsed is None or parsed == [] or (isinstance(parsed, str) and not parsed.strip()):
        return {}
    if not isinstance(parsed, Mapping):
        raise TypeError(f"arguments of {name} are not an object")
    return checked_arguments(parsed)
