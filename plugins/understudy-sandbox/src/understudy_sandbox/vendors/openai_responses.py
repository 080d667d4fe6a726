"""OpenAI's Responses: the plain body, and the numbered events that a stream of it has. As recorded in 2026."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from understudy_sandbox.exchange import (
    CREATED,
    Frame,
    RecordedRequest,
    Reply,
    compact,
    json_reply,
    spelled_out,
    stream_reply,
)
from understudy_sandbox.text import Answer, Asked, Tool, as_text, count, identifier, pieces
from understudy_sandbox.vendors import conversation, openai_failures, openai_input, openai_schemas
from understudy_sandbox.vendors.openai_checks import account_of
from understudy_sandbox.vendors.openai_failures import SIGNED, identity, model_name

#: What a response repeats of its request, with what stands there when the request does not say.
_REPEATED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
#: A failed response can name only some errors; the others come as an event of their own.
_IN_RESPONSE = ("server_error", "rate_limited")


def asked(body: Mapping[str, Any], title: str) -> Asked:
    """Read what a request asks for."""
    items = _items(body)
    messages = [item for item in items if item.get("type", "message") == "message"]
    choice = body.get("tool_choice") or "auto"
    form = openai_schemas.output_format(body)
    results: list[str] = []
    for item in reversed(items):
        if item.get("type") != "function_call_output":
            break
        output = item.get("output")
        results.insert(0, output if isinstance(output, str) else conversation.text_of(output) or as_text(output))
    return Asked(
        title=title,
        said=conversation.last_said(messages),
        attachments=tuple(kind.removeprefix("input_") for kind in conversation.attachments(items[-1] if items else {})),
        tool_results=tuple(results),
        tools=tuple(Tool(one["name"], one.get("parameters") or {}) for _, one in openai_schemas.functions(body)),
        tool_choice=choice if isinstance(choice, str) else choice.get("name", "required"),
        one_tool=body.get("parallel_tool_calls") is False,
        schema={"type": "object"} if form.get("type") == "json_object" else form.get("schema"),
        max_tokens=body.get("max_output_tokens"),
    )


def _items(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    sent = body.get("input")
    return [{"role": "user", "content": sent}] if isinstance(sent, str) else list(sent or ())


def body_of(request: RecordedRequest, answer: Answer) -> dict[str, Any]:
    """Write the answer as a response: a reasoning item, a message, function calls."""
    output: list[dict[str, Any]] = []
    if answer.thought:
        output.append(_thought(request, answer.thought))
    if answer.text:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": answer.text}
        output.append(_message(request, part))
    for place, call in enumerate(answer.tool_calls):
        output.append(
            {
                "id": identifier("fc_", "item", request.number, place, length=40),
                "type": "function_call",
                "status": "completed",
                "arguments": spelled_out(call.arguments),
                "call_id": identifier("call_", "tool", request.number, place, length=24),
                "name": call.name,
            }
        )
    body = _response(request, output, answer.text_tokens, answer.thought_tokens)
    return _cut(body, "max_output_tokens") if answer.finish == "length" else body


def contentless(request: RecordedRequest, kind: str) -> dict[str, Any]:
    """A response without content; where a schema is asked for, a blocked reply is a refusal in words."""
    if kind == "empty":
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        return _response(request, [_message(request, part)], 0, 0)
    if kind == "out_of_tokens":
        return _cut(_response(request, [], 0, 2), "max_output_tokens")
    if openai_schemas.output_format(request.json).get("type") == "json_schema":
        part = {"type": "refusal", "refusal": f"I can't help with that.{SIGNED}"}
        return _response(request, [_message(request, part)], 4, 0)
    return _cut(_response(request, [], 0, 0), "content_filter")


def _thought(request: RecordedRequest, thought: str) -> dict[str, Any]:
    """A reasoning item: its summary and its encrypted content are there for who asks for them."""
    shown = bool((request.json.get("reasoning") or {}).get("summary"))
    item: dict[str, Any] = {"id": identifier("rs_", "thought", request.number, length=40), "type": "reasoning"}
    item["summary"] = [{"type": "summary_text", "text": thought}] if shown else []
    if "reasoning.encrypted_content" in (request.json.get("include") or ()):
        item["encrypted_content"] = openai_input.sealed(account_of(request), request.number)
    return item


def _message(request: RecordedRequest, part: Mapping[str, Any]) -> dict[str, Any]:
    name = identifier("msg_", "message", request.number, length=40)
    return {"id": name, "type": "message", "status": "completed", "content": [part], "role": "assistant"}


def _response(
    request: RecordedRequest, output: list[dict[str, Any]], text_tokens: int, thought_tokens: int
) -> dict[str, Any]:
    body = request.json
    prompt = count(body.get("instructions"), body.get("input"), body.get("tools"))
    given = {name: body[name] for name in _REPEATED if body.get(name) is not None}
    return {
        "id": identifier("resp_", "response", request.number, length=40),
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "completed_at": CREATED,
        "error": None,
        "incomplete_details": None,
        "model": model_name(request),
        "output": output,
        **_REPEATED,
        **given,
        "service_tier": "default",
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
            "output_tokens": text_tokens + thought_tokens,
            "output_tokens_details": {"reasoning_tokens": thought_tokens},
            "total_tokens": prompt + text_tokens + thought_tokens,
        },
    }


def _cut(body: dict[str, Any], reason: str) -> dict[str, Any]:
    output = [{**item, "status": "incomplete"} if item["type"] == "message" else item for item in body["output"]]
    details = {"reason": reason}
    return body | {"status": "incomplete", "completed_at": None, "incomplete_details": details, "output": output}


def deliver(request: RecordedRequest, body: Mapping[str, Any]) -> Reply:
    """Send a response, as events to who asks for a stream."""
    if not request.stream:
        return json_reply(200, body, identity(request))
    frames = (_event(number, event) for number, event in enumerate(_events(body)))
    return stream_reply(frames, identity(request), "text/event-stream; charset=utf-8")


def with_keepalives(stream: Reply, place: int, count: int) -> Reply:
    """A stream with so many events ``keepalive`` before a frame: they are numbered like all others."""
    before, rest = stream.frames[:place], stream.frames[place:]
    beats = [replace(_event(place + number, {"type": "keepalive"}), beat=True) for number in range(count)]
    moved = [_event(place + count + number, _read(frame)) for number, frame in enumerate(rest)]
    return replace(stream, frames=(*before, *beats, *moved))


def error_body(request: RecordedRequest, kind: str) -> Reply:
    """A plain response that failed."""
    return json_reply(200, _failed(request, kind), identity(request))


def error_frame(request: RecordedRequest, kind: str, before: int) -> Frame:
    """The failure inside a stream: a response that failed, or the flat error event."""
    if kind not in _IN_RESPONSE:
        flat = {"type": "error", **openai_failures.response_error(request, kind), "param": None}
        return _event(before, flat)
    response = _failed(request, kind)
    failed = {"type": "response.failed", "response": response}
    if before:
        return _event(before, failed)
    opening = {"type": "response.created", "response": _opened(response)}
    return Frame(_event(0, opening).data + _event(1, failed).data)


def _failed(request: RecordedRequest, kind: str) -> dict[str, Any]:
    failed = {"status": "failed", "completed_at": None, "usage": None}
    return _response(request, [], 0, 0) | failed | {"error": openai_failures.response_error(request, kind)}


def _event(number: int, event: Mapping[str, Any]) -> Frame:
    data = compact({**event, "sequence_number": number})
    return Frame(f"event: {event['type']}\ndata: {data}\n\n".encode(), str(event["type"]).endswith(".delta"))


def _read(frame: Frame) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(frame.data.partition(b"data: ")[2])
    return {name: value for name, value in event.items() if name != "sequence_number"}


def _opened(body: Mapping[str, Any]) -> dict[str, Any]:
    nothing_yet: dict[str, Any] = {
        "output": [],
        "usage": None,
        "error": None,
        "incomplete_details": None,
        "completed_at": None,
    }
    return {**body, "status": "in_progress", **nothing_yet}


def _events(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Take a response apart into the events that a stream of it has."""
    yield {"type": "response.created", "response": _opened(body)}
    yield {"type": "response.in_progress", "response": _opened(body)}
    for index, item in enumerate(body.get("output") or ()):
        begun = {**item, **{name: [] for name in ("content", "summary") if item.get(name) is not None}}
        begun |= {"arguments": ""} if "arguments" in item else {}
        begun |= {"status": "in_progress"} if "status" in item else {}
        yield {"type": "response.output_item.added", "item": begun, "output_index": index}
        where = {"item_id": item.get("id"), "output_index": index}
        if item.get("type") == "function_call":
            yield from _spelled("response.function_call_arguments", where, "arguments", item["arguments"])
        for place, part in enumerate(item.get("summary") or ()):
            yield from _part("reasoning_summary_", {**where, "summary_index": place}, part)
        for place, part in enumerate(item.get("content") or ()):
            yield from _part("content_", {**where, "content_index": place}, part)
        yield {"type": "response.output_item.done", "item": item, "output_index": index}
    yield {"type": f"response.{body.get('status', 'completed')}", "response": body}


def _part(kind: str, where: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A part of a summary or of a message: begun, its text piece by piece, done."""
    name = "refusal" if "refusal" in part else "text"
    spelled = {"refusal": "refusal", "output_text": "output_text"}.get(str(part.get("type")), f"{kind}text")
    extra: dict[str, Any] = {"logprobs": []} if spelled == "output_text" else {}
    yield {"type": f"response.{kind}part.added", **where, "part": {**part, name: ""}}
    yield from _spelled(f"response.{spelled}", {**where, **extra}, name, part.get(name) or "")
    yield {"type": f"response.{kind}part.done", **where, "part": part}


def _spelled(kind: str, where: Mapping[str, Any], name: str, text: str) -> Iterator[dict[str, Any]]:
    for piece in pieces(text):
        yield {"type": f"{kind}.delta", **where, "delta": piece}
    yield {"type": f"{kind}.done", **where, name: text}
