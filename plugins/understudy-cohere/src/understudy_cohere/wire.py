"""Only translation: a Request into the JSON of Cohere's chat API v2, its replies back.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from understudy.errors import EmptyResponse, InvalidRequest, MalformedResponse, UnsupportedRequest
from understudy.provider import structured_output
from understudy_cohere.failures import (
    PROVIDER,
    error_in,
    failure_of_finish_reason,
    failure_of_reply,
    request_id_of,
)
from understudy_cohere.models import (
    Warnings,
    ending_warnings,
    leave_out_refused,
    limits,
    room,
    takes_images,
    takes_thinking,
)
from understudy_cohere.refusals import adapt
from understudy_toolkit.bodies import excerpt, read_json, text_of
from understudy_toolkit.pairing import paired, plain_name
from understudy_toolkit.thinking import MORE_ROOM, can_have_more_room, check_room
from understudy_toolkit.tool_calls import CallNames, checked_arguments

Json = dict[str, Any]

_FINISH_REASONS: Mapping[str, FinishReason] = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "TOOL_CALL": FinishReason.TOOL_CALLS,
}
# What reading a reply, or a piece of one, raises if it does not have the shape that the API promises.
WRONG_SHAPE = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
_NOTHING = "(no output)"  # of a tool that returned nothing
_MOST_COUNTED = 10**12  # tokens of one reply: a larger number is not a count


# ---- the request ----


def request_body(request: Request, model: str, adaptations: Collection[str] = ()) -> tuple[Json, Warnings]:
    """Return a request in the API's form, and what was left out of it.

    Args:
        request: what to ask.
        model: the model to ask.
        adaptations: how the request is adapted to what the model refused.

    Raises:
        InvalidRequest: nothing is left to send, or options["cohere"] cannot be merged.
        UnsupportedRequest: the API, or this model, lacks what the request needs.
    """
    options = options_of(request)
    messages, lost = _messages(request.messages, model)
    if not messages:
        raise InvalidRequest("expected a message with some content, found only empty text", provider=PROVIDER)
    if request.system and request.system.strip():
        messages.insert(0, {"role": "system", "content": request.system})
    body: Json = {"model": model, "messages": messages}
    bounds, lowered = limits(request, model, options)
    body |= bounds
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.output_schema is not None:
        body["response_format"] = {"type": "json_object", "json_schema": dict(request.output_schema)}
    if request.tools:
        body |= _tools(request)
    _merge(body, options)
    warnings = lost + lowered + leave_out_refused(body, model) + ending_warnings(model)
    warnings += adapt(body, adaptations, request)
    if request.output_schema is not None and body.get("tools") and "response_format" in body:
        raise UnsupportedRequest("Cohere takes an output schema or tools, and not both", provider=PROVIDER)
    return body, warnings


def options_of(request: Request) -> Mapping[str, Any]:
    """Return options["cohere"].

    Raises:
        InvalidRequest: they are not a mapping, or hold what cannot be asked for so.
    """
    options = request.options.get(PROVIDER, {})
    if not isinstance(options, Mapping):
        raise InvalidRequest(
            f"expected options['cohere'] as a mapping such as {{'seed': 5}}, found {type(options).__name__}",
            provider=PROVIDER,
        )
    if "stream" in options:
        raise InvalidRequest(
            "expected options['cohere'] without 'stream': call stream() or astream() instead", provider=PROVIDER
        )
    return options


def _messages(messages: Iterable[Message], model: str) -> tuple[list[Json], Warnings]:
    turns: list[Json] = []
    warnings: list[ResponseWarning] = []
    pairs, orphaned, added = paired(messages)
    if orphaned or added:
        how = (
            "results without a call became texts, and calls without a result were given one: Cohere wants one for each"
        )
        warnings.append(ResponseWarning("messages", how))
    for role, parts in pairs:
        if role == "assistant":
            turns += _assistant_turn(parts, thinking=takes_thinking(model))
            if any(isinstance(part, Image | File) for part in parts):
                lost = "images and files in an assistant's message were left out: Cohere takes them from the user only"
                warnings.append(ResponseWarning("messages", lost))
            continue
        turns += [_tool_turn(part) for part in parts if isinstance(part, ToolResult)]
        said = [part for part in parts if not isinstance(part, ToolResult)]
        if content := [block for part in said if (block := _user_block(part, model)) is not None]:
            turns.append({"role": "user", "content": content})
    return turns, tuple(warnings)


def _user_block(part: Part, model: str) -> Json | None:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text} if part.text.strip() else None  # the API refuses empty turns
    if not isinstance(part, Image):
        raise UnsupportedRequest("Cohere's chat takes no files", provider=PROVIDER)
    if not takes_images(model):
        raise UnsupportedRequest(f"{model} takes no images; command-a-plus-05-2026 does", provider=PROVIDER)
    url = part.url
    if part.data is not None:
        url = f"data:{part.media_type};base64,{base64.b64encode(part.data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url, **part.provider_data.get(PROVIDER, {})}}


def _assistant_turn(parts: Sequence[Part], *, thinking: bool) -> list[Json]:
    """Return what the model said before: one turn, or none where nothing of it can be said again.

    Beside tool calls the API takes no text, but thoughts where the model thinks, or else a plan.
    """
    content: list[Json] = []
    plan: list[str] = []
    calls: list[Json] = []
    for part in parts:
        if isinstance(part, ToolCall):
            calls.append(_tool_call(part))
        elif isinstance(part, Text) and part.text.strip():
            content.append({"type": "text", "text": part.text})
            plan.append(part.text)
        elif isinstance(part, Thinking) and (own := part.provider_data.get(PROVIDER)):
            if own.get("type") == "tool_plan":
                plan.append(part.text)
            elif thinking:
                content.append(dict(own))
    if not calls:
        return [{"role": "assistant", "content": content}] if any(block["type"] == "text" for block in content) else []
    turn: Json = {"role": "assistant", "tool_calls": calls}
    if any(block["type"] == "thinking" for block in content):
        turn["content"] = [{"type": "thinking", "thinking": block[block["type"]]} for block in content]
    elif plan:
        turn["tool_plan"] = "\n".join(plan)
    return [turn]


def _tool_call(part: ToolCall) -> Json:
    arguments = json.dumps(dict(part.arguments), ensure_ascii=False)
    return {"id": part.id, "type": "function", "function": {"name": _name(part.name), "arguments": arguments}}


def _tool_turn(part: ToolResult) -> Json:
    if not isinstance(part.content, str) and any(not isinstance(piece, Text) for piece in part.content):
        raise UnsupportedRequest("Cohere takes no images and files from a tool, only text", provider=PROVIDER)
    content = f"Error: {part.text}" if part.is_error else part.text  # the API has no other place for it
    # "message must not be empty in a turn": Cohere's errors page, read 2026-11-30
    return {"role": "tool", "tool_call_id": part.call_id, "content": content if content.strip() else _NOTHING}


def _tools(request: Request) -> Json:
    """Return the tools and their choice; where one must be called, it is the only one and some must be called."""
    choice = request.tool_choice
    named = [tool for tool in request.tools if tool.name == choice]
    tools: Json = {"tools": [_tool(tool) for tool in named or request.tools]}
    if len({tool["function"]["name"] for tool in tools["tools"]}) < len(tools["tools"]):
        raise UnsupportedRequest("Cohere takes no two tools whose names differ in - and _ only", provider=PROVIDER)
    if choice != "auto":
        tools["tool_choice"] = "NONE" if choice == "none" else "REQUIRED"
    return tools


def _tool(tool: Tool) -> Json:
    described: Json = {"name": _name(tool.name), "parameters": dict(tool.parameters)}
    if tool.description:
        described["description"] = tool.description
    return {"type": "function", "function": described}


def _name(name: str) -> str:
    """Return a tool's name as the API takes it: "tool names can only contain certain characters (A-Za-z0-9_)"."""
    return plain_name(name, "[^A-Za-z0-9_]")


def _merge(body: Json, options: Mapping[str, Any]) -> None:
    """Lay options["cohere"] over the body; `tools` are joined with those that are there."""
    for name, value in options.items():
        if name == "tools" and isinstance(value, Sequence):
            body["tools"] = [*body.get("tools", ()), *value]
        else:
            body[name] = value


# ---- the reply ----


def response_of(
    body: Any,
    headers: Mapping[str, str],
    request: Request,
    model: str,
    warnings: Sequence[ResponseWarning] = (),
    *,
    given: bool = False,
) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in any case.
        request: what was asked.
        model: who was asked; the reply does not say it.
        warnings: what the request was sent without.
        given: whether the caller of a stream already has some of it.

    Raises:
        ServerError, Timeout: the model stopped by ERROR or TIMEOUT.
        EmptyResponse: neither text nor a tool call came.
        AnswerCutShort: thinking used up the limit before the text was complete.
        MalformedResponse: it is not a message as the API promises.
    """
    request_id = request_id_of(headers, body if isinstance(body, Mapping) else {})
    try:
        return _response(body, headers, request, model, tuple(warnings), given)
    except Failure as failure:
        failure.provider, failure.request_id = PROVIDER, request_id
        raise
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected a message, found another shape ({type(error).__name__}: {error}) in {excerpt(body)}",
            provider=PROVIDER,
            request_id=request_id,
        ) from error


def _response(
    body: Any, headers: Mapping[str, str], request: Request, model: str, warnings: Warnings, given: bool
) -> LLMResponse:
    said = body.get("finish_reason") if isinstance(body, Mapping) else None
    failure = failure_of_finish_reason(said, body.get("error")) if isinstance(said, str) else None
    if failure is not None:
        raise failure
    if said is None and text_of((error_in(body) or {}).get("message")):
        raise failure_of_reply(200, headers, body)
    if not isinstance(body, Mapping) or not isinstance(said, str | None) or not isinstance(body["message"], Mapping):
        raise MalformedResponse(f"expected a message with a finish_reason, found {excerpt(body)}", status=200)
    if said is None:
        lack = "the reply came without a finish_reason: whether the answer is whole is not known"
        warnings += (ResponseWarning("finish_reason", lack),)
    finish_reason = _FINISH_REASONS.get(said or "", FinishReason.UNKNOWN)
    message = body["message"]
    parts, cut = _parts(message, finish_reason, request)
    text = "".join(part.text for part in parts if isinstance(part, Text))
    usage = body.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    counted = usage_of(usage)
    thought = (counted is not None and counted.thinking_tokens > 0) or any(_is_thought(part) for part in parts)
    more = not given and can_have_more_room(request, lambda asked: room(asked, model, options_of(asked)))
    if not text.strip() and not any(isinstance(part, ToolCall) for part in parts):
        starved = thought and finish_reason is FinishReason.LENGTH
        why = ": thinking used up max_tokens; raise it, or set options={'cohere': {'thinking': {'type': 'disabled'}}}"
        raise EmptyResponse(
            f"neither text nor a tool call came; the model stopped by {said}{why if starved else ''}",
            adaptation=MORE_ROOM if starved and more else None,
            usage=counted,
        )
    warnings += check_room(request, finish_reason, counted, thought=thought, given=not more)
    told = {
        "id": body.get("id"),
        "finish_reason": said,
        "citations": message.get("citations"),
        "billed_units": usage.get("billed_units"),
        "logprobs": body.get("logprobs"),
    }
    return LLMResponse(
        True,
        text,
        PROVIDER,
        metadata={name: value for name, value in told.items() if value},
        model=model,
        finish_reason=finish_reason,
        usage=counted,
        parts=parts,
        structured=structured_output(request, text, finish_reason),
        warnings=warnings + cut,
        request_id=request_id_of(headers, body),
    )


def _is_thought(part: Part) -> bool:
    return isinstance(part, Thinking) and part.provider_data[PROVIDER]["type"] == "thinking" and bool(part.text)


def _parts(
    message: Mapping[str, Any], finish_reason: FinishReason, request: Request
) -> tuple[tuple[Part, ...], Warnings]:
    parts: list[Part] = []
    warnings: list[ResponseWarning] = []
    content = message.get("content") or ()
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if block["type"] == "text":
            if block["text"]:
                parts.append(Text(checked_text(block["text"])))
        elif block["type"] == "thinking":
            parts.append(Thinking(checked_text(block["thinking"]), {PROVIDER: dict(block)}))
    if plan := message.get("tool_plan"):
        parts.append(Thinking(checked_text(plan), {PROVIDER: {"type": "tool_plan"}}))
    ids = CallNames(request)
    for call in message.get("tool_calls") or ():
        name = own_name(call["function"]["name"], request)
        arguments = _arguments(call["function"].get("arguments"))
        if arguments is None and finish_reason is FinishReason.LENGTH:
            lost = f"the call of {name} was left out: its arguments were cut at the token limit"
            warnings.append(ResponseWarning("max_tokens", lost))
            continue
        if arguments is None:
            raise TypeError(f"arguments of {name} are not an object")
        checked_arguments(arguments)
        parts.append(ToolCall(id=ids(call.get("id"), name), name=checked_text(name), arguments=arguments))
    return tuple(parts), tuple(warnings)


def _arguments(text: Any) -> Mapping[str, Any] | None:
    """Return a call's arguments, none at all being none given; None where they are not a JSON object."""
    if isinstance(text, Mapping):
        return text
    try:
        arguments = read_json(text, strict=True) if text else None
    except ValueError:
        return None
    return {} if arguments is None else arguments if isinstance(arguments, Mapping) else None


def models_of(body: Any, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the models in a reply to a question for them.

    Raises:
        MalformedResponse: it is not the list that the API promises.
    """
    listed = body.get("models") if isinstance(body, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(model, Mapping) for model in listed):
        raise MalformedResponse(
            f"expected a list of models, found {excerpt(body)}",
            provider=PROVIDER,
            request_id=request_id_of(headers, {}),
        )
    return tuple(model["name"] for model in listed if isinstance(model.get("name"), str))


def own_name(name: str, request: Request) -> str:
    """Return a tool's name as the request has it."""
    return next((tool.name for tool in request.tools if _name(tool.name) == name), name)


def checked_text(value: Any) -> str:
    """Return a text as it is.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {type(value).__name__}")
    return value


def usage_of(usage: Any) -> Usage | None:
    """Return what was counted, None where that was not told; what was billed leaves the vendor's own prompt out."""
    if not isinstance(usage, Mapping):
        return None
    tokens = usage.get("tokens") or usage.get("billed_units")
    tokens = tokens if isinstance(tokens, Mapping) else {}
    read, written = _count(tokens.get("input_tokens")), _count(tokens.get("output_tokens"))
    if read is None or written is None:
        return None
    return Usage(
        input_tokens=read,
        output_tokens=written,
        thinking_tokens=_count(tokens.get("reasoning_tokens")) or 0,
        cache_read_tokens=_count(usage.get("cached_tokens")) or 0,
    )


def _count(value: Any) -> int | None:
    """Return a count, which Cohere writes as 3.0 too; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_COUNTED:
        return None
    return int(value) if value == int(value) else None
