"""Only translation: a Request into Chat Completions' JSON. Its replies are read in reply.py.

No SDK is imported and nothing is sent or read here. The Responses API's translation is in wire_responses.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from understudy import File, Image, Message, Part, Request, ResponseWarning, Text, Thinking, ToolCall, ToolResult
from understudy.errors import UnsupportedRequest
from understudy_openai.adapting import adapt, adaptations_of
from understudy_openai.models import MOST_STOPS, Endpoint, ending_warnings, reasons
from understudy_openai.reasoning import leave_out_refused, limit_of, set_effort
from understudy_openai.shared import (
    AROUND,
    OPAQUE_FIELDS,
    THINKING_FIELDS,
    Json,
    Warnings,
    attachment_warnings,
    data_url,
    describe_schema,
    describe_tool,
    identifier,
    nothing_to_send,
    options_of,
    own_data,
    result_text,
    text_of_file,
)
from understudy_openai.tool_pieces import CALL_FIELDS


def request_body(request: Request, model: str, endpoint: Endpoint, *, stream: bool = False) -> tuple[Json, Warnings]:
    """Return a request in the form of Chat Completions, and what was left out of it.

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
    changed += leave_out_refused(body, model) + ending_warnings(model, endpoint)
    return body, changed + adapt(body, adaptations_of(request, model, endpoint), request, options)


def _messages(messages: Iterable[Message], endpoint: Endpoint) -> tuple[list[Json], Warnings]:
    messages = tuple(messages)
    with_tools = any(isinstance(part, ToolCall) for message in messages for part in message.parts)
    turns: list[Json] = []
    lost: list[ResponseWarning] = []
    for message in messages:
        if message.role == "assistant":
            turns += _assistant_turn(message, endpoint, with_tools=with_tools)
            lost += attachment_warnings(message.parts)
        elif message.role == "tool":
            turns += _tool_turns(message, endpoint)
        else:
            content = [piece for part in message.parts if (piece := _piece(part, endpoint)) is not None]
            if len(content) == 1 and set(content[0]) == {"type", "text"}:
                turns.append({"role": "user", "content": content[0]["text"]})  # the form that every server takes
            elif content:
                turns.append({"role": "user", "content": content})
    return turns, tuple(lost)


def _assistant_turn(message: Message, endpoint: Endpoint, *, with_tools: bool) -> Iterator[Json]:
    """Turn an answer back into a message, with the reasoning that the same server gave it.

    What only the server understands goes back in any case. Its texts do where tools were called in the conversation:
    DeepSeek, Kimi and MiniMax want them back there, and elsewhere they are but paid for.
    """
    calls = [_call(part, endpoint) for part in message.parts if isinstance(part, ToolCall)]
    if not message.text.strip() and not calls:
        return
    turn: Json = {"role": "assistant", "content": message.text or None}
    if calls:
        turn["tool_calls"] = calls
    fields = (*OPAQUE_FIELDS, *(THINKING_FIELDS if with_tools else ()))
    for part in message.parts:
        if not isinstance(part, Thinking):
            continue
        own = own_data(part, endpoint)
        turn |= {name: own[name] for name in fields if name in own}
        if with_tools and "tags" in own:
            opening, closing = own["tags"]
            turn["content"] = f"{opening}\n{part.text}\n{closing}\n\n{message.text}"
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
        if name == "extra_body" and isinstance(value, Mapping):
            _merge(body, value)
        elif value is None:
            body.pop(name, None)
        elif name == "tools" and isinstance(value, Sequence):
            body["tools"] = [*body.get("tools", ()), *value]
        elif name not in AROUND:
            body[name] = value
