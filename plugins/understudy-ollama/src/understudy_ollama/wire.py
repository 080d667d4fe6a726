"""Only translation: a Request into the JSON of /api/chat, its reply back. Streams: streaming.py.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
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
from understudy.errors import InvalidRequest, MalformedResponse, UnsupportedRequest
from understudy.provider import structured_output
from understudy_ollama.failures import PROVIDER, error_of, failure_of_done_reason, failure_of_reply
from understudy_ollama.lengths import Ending, check_length, empty_response
from understudy_ollama.models import LOAD_SETTINGS, MODEL_SETTINGS, full_name, least_thinking, room_for
from understudy_ollama.refusals import adapt
from understudy_toolkit.bodies import decode_base64, excerpt, kind_of_image, read_json, text_of
from understudy_toolkit.pairing import paired
from understudy_toolkit.tool_calls import CallNames, checked_arguments

Json = dict[str, Any]
Warnings = tuple[ResponseWarning, ...]

_FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,  # this and the next of servers that stand in for Ollama
    "tool_calls": FinishReason.TOOL_CALLS,
}
_METADATA = (
    *("created_at", "done_reason", "remote_model", "remote_host", "logprobs"),
    *("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"),  # nanoseconds
)
# What reading a reply, or a piece of one, raises if it does not have the shape that the API promises.
WRONG_SHAPE = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
_MOST_COUNTED = 10**12  # tokens of one reply: a larger number is not a count


# ---- the request ----


def request_body(
    request: Request, model: str, learned: Container[str] = (), adaptations: Collection[str] = ()
) -> tuple[Json, Warnings]:
    """Return a request in the API's form, and what was left out of it.

    Args:
        request: what to ask.
        model: the model to ask.
        learned: full names of models that were seen to think.
        adaptations: how the request is adapted to what the model refused.

    Raises:
        InvalidRequest: nothing is left to send, or options["ollama"] cannot be merged.
        UnsupportedRequest: there is an image by URL, or a file.
    """
    messages, paired_up = _messages(request.messages)
    if not messages:
        raise InvalidRequest("expected a message with some content, found only foreign thinking", provider=PROVIDER)
    if request.system and request.system.strip():
        messages.insert(0, {"role": "system", "content": request.system})
    # Left to itself, the server forgets the start of a conversation that is too long, and says nothing.
    body: Json = {"model": model, "messages": messages, "stream": False, "truncate": False, "shift": False}
    tools, warnings = _tools(request)
    if tools:
        body["tools"] = tools
    if request.output_schema is not None:
        body["format"] = _plain(request.output_schema)
    settings: Json = {}
    if request.temperature is not None:
        settings["temperature"] = request.temperature
    if request.max_tokens is not None:
        settings["num_predict"] = request.max_tokens + thinking_room(request, model, learned)
    if request.stop:
        settings["stop"] = list(request.stop)
    _merge(body, settings, request.options.get(PROVIDER, {}))
    if settings:
        body["options"] = settings
    if level := least_thinking(request, model, body.get("think")):
        body["think"] = level
    return body, warnings + paired_up + adapt(body, adaptations, request, own_options(request))


def thinking_room(request: Request, model: str, learned: Container[str] = ()) -> int:
    """Return how many tokens are requested in addition to `max_tokens`."""
    return room_for(request, model, own_options(request), learned, request.adaptation)


def loading_body(body: Json) -> Json:
    """Return the JSON that has the server load the model as this request wants it, and do nothing else."""
    settings = {name: value for name, value in body.get("options", {}).items() if name in LOAD_SETTINGS}
    loading: Json = {name: body[name] for name in ("model", "shift") if name in body}
    return {**loading, "keep_alive": "1h", **({"options": settings} if settings else {})}


def own_options(request: Request) -> Mapping[str, Any]:
    """Return what the caller wants of Ollama alone, the model's settings as if they stood beside the rest."""
    options = request.options.get(PROVIDER, {})
    if not isinstance(options, Mapping):
        return {}
    settings = options.get("options", {})
    return {**(settings if isinstance(settings, Mapping) else {}), **options}


def _messages(messages: Iterable[Message]) -> tuple[list[Json], Warnings]:
    """Write the turns, and each turn's results right after its calls, in their order: templates tell them apart by it.

    Models of ollama.com refuse a result without a call: continuedev/continue#11756, read 2026-12-01.
    """
    pairs, orphaned, added = paired(messages)
    names = {part.id: part.name for _, parts in pairs for part in parts if isinstance(part, ToolCall)}
    written: list[Json] = []
    for role, parts in pairs:
        written += [_tool_result(part, names) for part in parts if isinstance(part, ToolResult)]
        turn = _turn(role, [part for part in parts if not isinstance(part, ToolResult)])
        if turn is not None:
            written.append(turn)
    if not (orphaned or added):
        return written, ()
    how = "results without a call became texts, and calls without a result were given one that says so"
    return written, (ResponseWarning("messages", how),)


def _turn(role: str, parts: Sequence[Part]) -> Json | None:
    """Write a turn of the user or the assistant; None where nothing of it is for Ollama."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    images = _images(parts)
    thinking = [part.text for part in parts if isinstance(part, Thinking) and PROVIDER in part.provider_data]
    calls = [_tool_call(part) for part in parts if isinstance(part, ToolCall)]
    if not (texts or images or thinking or calls):
        return None
    # An answer may have come in several pieces; what a user gives in several is meant to stand apart.
    turn: Json = {"role": role, "content": ("\n\n" if role == "user" else "").join(texts)}
    if thinking:
        turn["thinking"] = "".join(thinking)
    if images:
        turn["images"] = images
    if calls:
        turn["tool_calls"] = calls
    return turn


def _images(parts: Iterable[Part]) -> list[str]:
    images = []
    for part in parts:
        if isinstance(part, File):
            raise UnsupportedRequest("expected text and images, found a file: Ollama takes none", provider=PROVIDER)
        if not isinstance(part, Image):
            continue
        if part.data is None:
            raise UnsupportedRequest(
                "expected an image by its bytes, found a URL: Ollama fetches none; use Image(data=..., media_type=...)",
                provider=PROVIDER,
            )
        images.append(base64.b64encode(part.data).decode("ascii"))
    return images


def _tool_call(part: ToolCall) -> Json:
    return {"id": part.id, "function": {"name": part.name, "arguments": _plain(part.arguments)}}


def _tool_result(part: ToolResult, calls: Mapping[str, str]) -> Json:
    content = f"Error: {part.text}" if part.is_error else part.text  # the API has no place for it
    message: Json = {"role": "tool", "content": content, "tool_call_id": part.call_id}
    if name := part.name or calls.get(part.call_id):
        message["tool_name"] = name
    if not isinstance(part.content, str) and (images := _images(part.content)):
        message["images"] = images
    return message


def _tools(request: Request) -> tuple[list[Json], Warnings]:
    """Write the tools that may be called; the API has no choice among them but to leave some out."""
    choice = request.tool_choice
    if choice == "none":
        return [], ()
    tools = [_tool(tool) for tool in request.tools if choice in ("auto", "required", tool.name)]
    if choice == "auto" or not tools:
        return tools, ()
    lost = "that a tool must be called was left out: Ollama leaves it to the model"
    return tools, (ResponseWarning("tool_choice", lost),)


def _tool(tool: Tool) -> Json:
    function = {"name": tool.name, "description": tool.description, "parameters": _plain(tool.parameters)}
    return {"type": "function", "function": function}


def _merge(body: Json, settings: Json, options: Any) -> None:
    """Lay options["ollama"] over the body; those of the model go to its settings, `tools` join those of the request."""
    if not isinstance(options, Mapping) or not isinstance(options.get("options", {}), Mapping):
        raise InvalidRequest(
            "expected options['ollama'] as a mapping such as {'options': {'num_ctx': 8192}, 'keep_alive': '10m'}, "
            f"found {options!r:.100}",
            provider=PROVIDER,
        )
    if "stream" in options:
        raise InvalidRequest(
            "expected options['ollama'] without 'stream': call stream() or astream() instead", provider=PROVIDER
        )
    for name, value in options.items():
        if name == "options":
            settings.update(_plain(value))
        elif name in MODEL_SETTINGS:
            settings[name] = _plain(value)
        elif name == "tools" and isinstance(value, Sequence):
            body["tools"] = [*body.get("tools", ()), *_plain(list(value))]
        else:
            body[name] = _plain(value)


def _plain(value: Any) -> Any:
    """Copy a value so that it is of dicts and lists, which JSON can be written of."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


# ---- the reply ----


def response_of(
    body: Any,
    headers: Mapping[str, str],
    request: Request,
    warnings: Sequence[ResponseWarning] = (),
    *,
    sent: Mapping[str, Any] | None = None,
    given: bool = False,
) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in lower case or in any case at all.
        request: what was asked.
        warnings: what the request was sent without.
        sent: the request's JSON, as it was sent.
        given: whether the caller of a stream already has some of the answer.

    Raises:
        EmptyResponse: neither text nor a tool call came.
        AnswerCutShort: thinking left too few tokens for the answer.
        MalformedResponse: it is not an answer as the API promises.
        Failure: it is an error.
    """
    request_id = headers.get("x-request-id")
    try:
        return _response(body, headers, request, tuple(warnings), sent or {}, given)
    except Failure as failure:
        failure.provider, failure.request_id = PROVIDER, request_id
        raise
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected an answer, found another shape ({type(error).__name__}: {error}) in {excerpt(body)}",
            provider=PROVIDER,
            request_id=request_id,
        ) from error


def _response(
    body: Any,
    headers: Mapping[str, str],
    request: Request,
    warnings: Warnings,
    sent: Mapping[str, Any],
    given: bool,
) -> LLMResponse:
    if error_of(body) is not None:
        raise failure_of_reply(200, headers, body)
    if not isinstance(body, Mapping) or body.get("done") is not True:
        raise MalformedResponse(f"expected an answer that is done, found {excerpt(body)}", status=200)
    message = message_of(body)
    parts = _parts(message, CallNames(request))
    text = "".join(part.text for part in parts if isinstance(part, Text))
    called = any(isinstance(part, ToolCall) for part in parts)
    usage = usage_of(body)
    failure = failure_of_done_reason(body.get("done_reason"))
    if failure is not None:
        failure.usage = usage
        raise failure
    ending = Ending(request, own_options(request), sent, {**body, "message": message}, usage or Usage(), given)
    if not text.strip() and not called and not any(isinstance(part, Image) for part in parts):
        raise empty_response(ending)
    finish_reason = _FINISH_REASONS.get(str(body.get("done_reason")), FinishReason.UNKNOWN)
    if called and finish_reason is FinishReason.STOP:
        finish_reason = FinishReason.TOOL_CALLS
    warnings += check_length(ending, text, finish_reason)
    return LLMResponse(
        True,
        text,
        PROVIDER,
        metadata={name: body[name] for name in _METADATA if body.get(name) is not None},
        model=text_of(body.get("model")),
        finish_reason=finish_reason,
        usage=usage,
        parts=parts,
        structured=structured_output(request, text, finish_reason),
        warnings=warnings,
        request_id=headers.get("x-request-id"),
    )


def _parts(message: Mapping[str, Any], names: CallNames) -> tuple[Part, ...]:
    parts: list[Part] = []
    if thinking := message.get("thinking"):
        parts.append(Thinking(checked(thinking), {PROVIDER: {"thinking": thinking}}))
    if content := message.get("content"):
        parts.append(Text(checked(content)))
    parts += [_image(checked(encoded)) for encoded in message.get("images") or ()]
    parts += [
        ToolCall(id=names(call.get("id"), name), name=name, arguments=arguments_of(call))
        for call in message.get("tool_calls") or ()
        for name in (checked(call["function"]["name"]),)
    ]
    return tuple(parts)


def _image(encoded: str) -> Image:
    try:
        data = decode_base64(encoded)
    except ValueError as error:
        raise ValueError(f"an image is not in base64: {error}") from None
    return Image(data=data, media_type=kind_of_image(data))


def message_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message of a reply, or of a piece of one; the last piece may come without any.

    Raises:
        KeyError: it has none.
        TypeError: it is not an object.
    """
    is_last = body.get("done") is True and "response" not in body
    message = (body.get("message") or {}) if is_last else body["message"]
    if not isinstance(message, Mapping):
        raise TypeError(f"message {message!r:.50} is not an object")
    return message


def thought_in(body: Any) -> bool:
    """Return whether a reply holds some thinking, whatever else it is."""
    message = body.get("message") if isinstance(body, Mapping) else None
    return isinstance(message, Mapping) and bool(message.get("thinking"))


def checked(text: Any) -> str:
    """Return a value that is to be a text.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(text, str):
        raise TypeError(f"{text!r:.50} is not a string")
    return text


def arguments_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of a tool call.

    Raises:
        TypeError: they are not a JSON object, or the call has no name.
    """
    function = call["function"]
    arguments = function.get("arguments")
    if isinstance(arguments, str):  # of servers that stand in for Ollama
        arguments = read_json(arguments, strict=True) if arguments else None
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise TypeError(f"arguments of {checked(function['name'])} are not an object")
    return checked_arguments(arguments)


def usage_of(body: Mapping[str, Any]) -> Usage | None:
    """Return what was counted; None where that was not told. The server leaves out a count that is 0."""
    read, written = (_count(body, name) for name in ("prompt_eval_count", "eval_count"))
    if read is None or written is None or not ("prompt_eval_count" in body or "eval_count" in body):
        return None
    return Usage(
        input_tokens=read, output_tokens=written, cache_read_tokens=_count(body, "prompt_eval_cached_count") or 0
    )


def _count(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name, 0)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_COUNTED
    return value if is_count else None


# ---- the server's lists of models ----


def names_in(document: Any) -> tuple[str, ...]:
    """Return the names of the models in a list of the server's, as it writes them.

    Raises:
        MalformedResponse: it is not such a list.
    """
    try:
        return tuple(checked(one["name"]) for one in document["models"])
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected a list of models, found {excerpt(document)} ({type(error).__name__}: {error})", provider=PROVIDER
        ) from error


def thinking_in(document: Any) -> frozenset[str]:
    """Return the full names of the models that a list of the server's says can think; servers before 0.30 do not."""
    able = (one for one in document["models"] if "thinking" in (one.get("capabilities") or ()))
    return frozenset(full_name(one["name"]) for one in able)
