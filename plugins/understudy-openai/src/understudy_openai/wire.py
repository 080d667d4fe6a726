"""Translation, and nothing else: a Request into Chat Completions' JSON, its replies back.

No SDK is imported and nothing is sent or read here. The Responses API's translation is in wire_responses.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    ToolCall,
    ToolResult,
)
from understudy.errors import ContentBlocked, MalformedResponse, Overloaded, ServerError, UnsupportedRequest
from understudy_openai.models import MOST_STOPS, Endpoint, ending_warnings, reasons
from understudy_openai.reasoning import leave_out_refused, limit_of, set_effort
from understudy_openai.shared import (
    Json,
    Warnings,
    answer,
    attachment_warnings,
    count_tokens,
    data_url,
    describe_schema,
    describe_tool,
    identifier,
    nothing_to_send,
    options_of,
    own_data,
    read_arguments,
    reading,
    result_text,
    text_of_file,
)

_FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": FinishReason.STOP,
    "end_turn": FinishReason.STOP,  # xAI
    "eos": FinishReason.STOP,  # Together
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,  # Mistral
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.BLOCKED,
}
# A reply that ends so is none: Mistral and OpenRouter, DeepSeek.
_FAILED_REASONS: Mapping[str, type[Failure]] = {"error": ServerError, "insufficient_system_resource": Overloaded}
# What compatible servers show of a model's reasoning; OpenAI itself shows none here.
THINKING_FIELDS = ("reasoning_content", "reasoning")
CALL_FIELDS = ("id", "type", "index", "function")


# ---- the request ----


def request_body(request: Request, model: str, endpoint: Endpoint, *, stream: bool = False) -> tuple[Json, Warnings]:
    """Return a request as Chat Completions wants it, and what was left out of it.

    Args:
        request: what to ask.
        model: the model to ask.
        endpoint: who is asked.
        stream: whether the answer shall come piece by piece.

    Raises:
        InvalidRequest: nothing is left to send, or the options cannot be merged.
        UnsupportedRequest: a file is given by its URL, which this API does not take.
    """
    options = options_of(request, endpoint)
    messages, lost = _messages(request.messages, endpoint)
    if not messages:
        raise nothing_to_send(endpoint)
    if request.system and request.system.strip():
        messages.insert(0, {"role": "system", "content": request.system})
    body: Json = {"model": model, "messages": messages}
    limit, lowered = limit_of(request, model, options)
    if limit is not None:
        newer = endpoint.is_openai or reasons(model)  # many compatible servers know only the older name
        body["max_completion_tokens" if newer else "max_tokens"] = limit
    if request.tools:
        body["tools"] = [{"type": "function", "function": describe_tool(tool)} for tool in request.tools]
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.output_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": describe_schema(request.output_schema)}
    if request.stop and not reasons(model):
        body["stop"] = list(request.stop[:MOST_STOPS])  # the answer is cut at the others where it is read
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    _merge(body, options)
    if not stream:
        body.pop("stream_options", None)
    changed = lost + lowered + set_effort(body, request, model, options, in_chat=True)
    return body, changed + leave_out_refused(body, model) + ending_warnings(model, endpoint)


def _messages(messages: Iterable[Message], endpoint: Endpoint) -> tuple[list[Json], Warnings]:
    turns: list[Json] = []
    lost: list[ResponseWarning] = []
    for message in messages:
        if message.role == "assistant":
            turns += _assistant_turn(message, endpoint)
            lost += attachment_warnings(message)
        elif message.role == "tool":
            turns += _tool_turns(message, endpoint)
        else:
            content = [piece for part in message.parts if (piece := _piece(part, endpoint)) is not None]
            if len(content) == 1 and set(content[0]) == {"type", "text"}:
                turns.append({"role": "user", "content": content[0]["text"]})  # the form that every server takes
            elif content:
                turns.append({"role": "user", "content": content})
    return turns, tuple(lost)


def _assistant_turn(message: Message, endpoint: Endpoint) -> Iterator[Json]:
    calls = [_call(part, endpoint) for part in message.parts if isinstance(part, ToolCall)]
    if not message.text.strip() and not calls:
        return
    turn: Json = {"role": "assistant", "content": message.text or None}
    if calls:
        turn["tool_calls"] = calls
        for part in message.parts:  # DeepSeek and Kimi want their reasoning back while they call tools, and only then
            own = own_data(part, endpoint) if isinstance(part, Thinking) else {}
            turn |= {name: own[name] for name in THINKING_FIELDS if name in own}
    yield turn


def _call(part: ToolCall, endpoint: Endpoint) -> Json:
    own = {name: value for name, value in own_data(part, endpoint).items() if name not in CALL_FIELDS}
    function = {"name": part.name, "arguments": json.dumps(dict(part.arguments))}
    return {"id": identifier(part.id, endpoint), "type": "function", "function": function} | own


def _tool_turns(message: Message, endpoint: Endpoint) -> Iterator[Json]:
    """Turn results into a message each; what is no text follows in a message of the user's: here the API takes none."""
    attached: list[Json] = []
    for result in message.parts:
        assert isinstance(result, ToolResult)  # Message allows nothing else in this role
        call_id = identifier(result.call_id, endpoint)
        yield {"role": "tool", "tool_call_id": call_id, "content": result_text(result)}
        others = () if isinstance(result.content, str) else (p for p in result.content if not isinstance(p, Text))
        pieces = [piece for part in others if (piece := _piece(part, endpoint)) is not None]
        if pieces:
            attached += [{"type": "text", "text": f"Returned by the tool call {call_id}:"}, *pieces]
    if attached:
        yield {"role": "user", "content": attached}


def _piece(part: Part, endpoint: Endpoint) -> Json | None:
    own = own_data(part, endpoint)
    if isinstance(part, Text):
        return {"type": "text", "text": part.text, **own} if part.text.strip() else None
    if isinstance(part, Image):
        detail = {"detail": own.pop("detail")} if "detail" in own else {}
        return {"type": "image_url", "image_url": {"url": part.url or data_url(part), **detail}, **own}
    assert isinstance(part, File)  # Message allows nothing else in the user's role
    if (text := text_of_file(part)) is not None:
        return {"type": "text", "text": text, **own}
    if part.data is None:
        lack = "Chat Completions takes files as data, found a URL: fetch it, or ask through the Responses API"
        raise UnsupportedRequest(lack, provider=endpoint.name)
    return {"type": "file", "file": {"filename": part.name or "file", "file_data": data_url(part)}, **own}


def _tool_choice(choice: str) -> str | Json:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _merge(body: Json, options: Mapping[str, Any]) -> None:
    """Lay the options over the body: `tools` are joined with those that are there, and None takes a field out."""
    for option, value in options.items():
        name = "reasoning_effort" if option == "effort" else option
        if name in ("max_tokens", "max_completion_tokens"):
            body.pop("max_tokens", None)
            body.pop("max_completion_tokens", None)
        if value is None:
            body.pop(name, None)
        elif name == "tools" and isinstance(value, Sequence):
            body["tools"] = [*body.get("tools", ()), *value]
        elif name != "api":
            body[name] = value


# ---- the reply ----


def response_of(
    body: Any,
    headers: Mapping[str, str],
    request: Request,
    endpoint: Endpoint,
    warnings: Sequence[ResponseWarning] = (),
    *,
    given: bool = False,
) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in any case.
        request: what was asked, and of which model.
        endpoint: who was asked.
        warnings: what the request was sent without.
        given: whether the caller of a stream holds some of it already.

    Raises:
        ContentBlocked: the model refused, or a filter stopped it.
        EmptyResponse: neither text nor a tool call came.
        AnswerCutShort: reasoning used up the limit before the text was complete.
        MalformedResponse: it is not a completion as the API promises it.
    """
    with reading(body, "choices", headers, endpoint):
        choice = body["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        if not isinstance(reason, str):
            raise MalformedResponse(f"expected a choice with a finish_reason, found {choice!r:.200}", status=200)
        if reason in _FAILED_REASONS:
            raise _FAILED_REASONS[reason](f"the model stopped by {reason}", status=200, code=reason)
        finish_reason = _FINISH_REASONS.get(reason, FinishReason.UNKNOWN)
        if message.get("refusal"):
            raise ContentBlocked(f"the model refused: {message['refusal']}", code="refusal")
        if finish_reason is FinishReason.BLOCKED:
            raise ContentBlocked("a content filter stopped the answer", code="content_filter")
        parts, cut = _parts(message, str(body.get("id") or "call"), finish_reason, endpoint)
        told = {name: body.get(name) for name in ("id", "system_fingerprint", "service_tier")}
        return answer(
            body,
            parts,
            finish_reason,
            request,
            endpoint,
            headers=headers,
            metadata={**told, "finish_reason": reason},
            usage=count_tokens(body.get("usage"), "prompt", "completion"),
            warnings=(*warnings, *cut),
            given=given,
        )


def _parts(
    message: Mapping[str, Any], reply_id: str, finish_reason: FinishReason, endpoint: Endpoint
) -> tuple[list[Part], Warnings]:
    parts: list[Part] = []
    cut: list[ResponseWarning] = []
    for name in THINKING_FIELDS:
        if isinstance(message.get(name), str) and message[name]:
            parts.append(Thinking(message[name], {endpoint.name: {name: message[name]}}))
            break  # some servers send it under both names
    told = tuple(pieces_of(message.get("content")))
    if thought := "".join(text for is_thinking, text in told if is_thinking):
        parts.append(Thinking(thought))
    if text := "".join(text for is_thinking, text in told if not is_thinking):
        annotations = message.get("annotations")
        parts.append(Text(text, {endpoint.name: {"annotations": annotations}} if annotations else {}))
    for index, call in enumerate(message.get("tool_calls") or ()):
        if "function" not in call:
            continue  # a custom tool of the options'
        name = call["function"]["name"]
        arguments = read_arguments(name, call["function"].get("arguments"), finish_reason)
        if isinstance(arguments, ResponseWarning):
            cut.append(arguments)
            continue
        own = {field: value for field, value in call.items() if field not in CALL_FIELDS and value is not None}
        call_id = call.get("id") or f"{reply_id}-{index}"
        data = {endpoint.name: own} if own else {}
        parts.append(ToolCall(id=call_id, name=name, arguments=arguments, provider_data=data))
    return parts, tuple(cut)


def pieces_of(content: Any) -> Iterator[tuple[bool, str]]:
    """Yield what a content says, each piece with whether it is thinking: Mistral sends lists where it thinks."""
    if isinstance(content, str):
        yield False, content
        return
    for piece in content or ():
        if piece["type"] == "text":
            yield False, piece["text"]
        elif piece["type"] == "thinking":
            yield from ((True, text) for _, text in pieces_of(piece["thinking"]))
