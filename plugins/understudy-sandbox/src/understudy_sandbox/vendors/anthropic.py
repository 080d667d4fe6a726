"""Anthropic's Messages API. Shapes as recorded from api.anthropic.com in 2025 and 2026."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from understudy_sandbox.exchange import Frame, RecordedRequest, Reply, empty_event, json_reply, stream_reply
from understudy_sandbox.text import Answer, Asked, Tool, as_text, compose, count, identifier, pieces
from understudy_sandbox.vendors import anthropic_checks, anthropic_failures, anthropic_thinking
from understudy_sandbox.vendors.anthropic_failures import event_frame, identity, model_name

NAME = "claude"
TITLE = "Claude"
MODELS = ("claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5")


def environment(url: str) -> dict[str, str]:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return {"ANTHROPIC_API_KEY": "sandbox-key", "ANTHROPIC_BASE_URL": url}


def wants_stream(path: str, query: Mapping[str, str], body: Any) -> bool:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return isinstance(body, Mapping) and body.get("stream") is True


def reply_without_model(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    problem = anthropic_checks.find_problem(request)
    if problem is not None:
        return anthropic_failures.error_reply(request, problem.status, problem.type, problem.message)
    if request.path == "/v1/messages/count_tokens":
        return json_reply(200, {"input_tokens": _input_tokens(request.json)}, identity(request))
    if request.path == "/v1/models":
        listed = [_model(name) for name in MODELS]
        page = {"data": listed, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
        return json_reply(200, page, identity(request))
    if request.path.startswith("/v1/models/"):
        return json_reply(200, _model(request.path.removeprefix("/v1/models/")), identity(request))
    return None


def reply(request: RecordedRequest, scripted: str | Mapping[str, Any] | None) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if isinstance(scripted, Mapping):
        return _deliver(request, scripted)
    limit, thought = request.json["max_tokens"], anthropic_thinking.tokens(request.json)
    if thought > limit:  # thinking uses it up
        message = _envelope(request, [anthropic_thinking.block(request)], "max_tokens", limit)
        message["usage"]["output_tokens_details"] = {"thinking_tokens": limit}
        return _deliver(request, message)
    return _deliver(request, _message(request, compose(_asked(request.json, limit - thought), scripted), thought))


def contentless(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    reason = {"empty": "end_turn", "out_of_tokens": "max_tokens"}.get(kind, "refusal")
    message = _envelope(request, [], reason, output_tokens=1)
    if reason == "refusal":
        explanation = f"This was refused on request.{anthropic_failures.SIGNED}"
        message["stop_details"] = {"type": "refusal", "category": "general_harms", "explanation": explanation}
    return _deliver(request, message)


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return anthropic_failures.failure(request, kind, options)


def error_body(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return replace(failure(request, kind, {}), status=200)


def error_frame(request: RecordedRequest, kind: str, before: int) -> Frame:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return anthropic_failures.error_frame(request, kind)


def null_stream(request: RecordedRequest) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return empty_event()


def with_heartbeats(request: RecordedRequest, stream: Reply, place: int, count: int) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    pings = [replace(event_frame({"type": "ping"}), beat=True)] * count
    return replace(stream, frames=(*stream.frames[:place], *pings, *stream.frames[place:]))


def while_loading(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return reply_without_model(request)


def _model(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": f"{name} (Understudy sandbox)",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
    }


def _asked(body: Mapping[str, Any], left: int) -> Asked:
    last = body["messages"][-1]
    blocks = anthropic_checks.blocks(last)
    choice = body.get("tool_choice") or {}
    output = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    said = next((text for message in reversed(body["messages"]) if (text := _said(message))), "")
    return Asked(
        title=TITLE,
        said=said,
        attachments=tuple(
            str((block.get("source") or {}).get("media_type", block["type"]))
            for block in blocks
            if block.get("type") in ("image", "document")
        ),
        tool_results=tuple(_result(block) for block in blocks if block.get("type") == "tool_result"),
        tools=tuple(
            Tool(tool["name"], tool["input_schema"]) for tool in body.get("tools", ()) if "input_schema" in tool
        ),
        tool_choice={"any": "required", "tool": choice.get("name", "required")}.get(
            str(choice.get("type")), str(choice.get("type", "auto"))
        ),
        one_tool=choice.get("disable_parallel_tool_use") is True,
        schema=output.get("schema"),
        stop=tuple(body.get("stop_sequences") or ()),
        max_tokens=left,
        begun="".join(block["text"] for block in anthropic_checks.begun(body) if block["type"] == "text"),
    )


def _said(message: Mapping[str, Any]) -> str:
    if message["role"] != "user":
        return ""
    return "\n".join(block["text"] for block in anthropic_checks.blocks(message) if block.get("type") == "text")


def _result(block: Mapping[str, Any]) -> str:
    content = block.get("content", "")
    if isinstance(content, list):
        return " ".join(as_text(part.get("text", part.get("type"))) for part in content)
    return as_text(content)


def _input_tokens(body: Any) -> int:
    sent = body if isinstance(body, Mapping) else {}
    return count(sent.get("system"), sent.get("messages"), sent.get("tools"))


def _message(request: RecordedRequest, answer: Answer, thought: int) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if thought:
        content.append(anthropic_thinking.block(request))
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    for position, call in enumerate(answer.tool_calls):
        name = identifier("toolu_01", "tool", request.number, position)
        content.append({"type": "tool_use", "id": name, "name": call.name, "input": dict(call.arguments)})
    reason = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}.get(answer.finish, answer.finish)
    message = _envelope(request, content, reason, answer.text_tokens + thought)
    message["stop_sequence"] = answer.stop_sequence
    if thought:
        message["usage"]["output_tokens_details"] = {"thinking_tokens": thought}
    return message


def _envelope(
    request: RecordedRequest, content: list[dict[str, Any]], stop_reason: str, output_tokens: int
) -> dict[str, Any]:
    return {
        "model": model_name(request),
        "id": identifier("msg_01", "message", request.number),
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": _input_tokens(request.json),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    }


def _deliver(request: RecordedRequest, message: Mapping[str, Any]) -> Reply:
    if not request.stream:
        return json_reply(200, message, identity(request))
    headers = (("cache-control", "no-cache"), *identity(request))
    return stream_reply(_events(message), headers, "text/event-stream; charset=utf-8")


def _events(message: Mapping[str, Any]) -> Iterator[Frame]:
    """Take a message apart into the events that a stream of it has, in the vendor's order."""
    usage = dict(message.get("usage") or {})
    opening = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    first = {name: value for name, value in usage.items() if name != "output_tokens_details"}
    yield event_frame({"type": "message_start", "message": {**opening, "usage": {**first, "output_tokens": 1}}})
    for index, block in enumerate(message.get("content") or ()):
        start, deltas = _take_apart(block)
        yield event_frame({"type": "content_block_start", "index": index, "content_block": start})
        if index == 0:
            yield event_frame({"type": "ping"})
        for delta in deltas:
            # the signature is not content: faults that count deltas do not count it
            shown = delta["type"] != "signature_delta" and delta.get("partial_json") != ""
            yield event_frame({"type": "content_block_delta", "index": index, "delta": delta}, delta=shown)
        yield event_frame({"type": "content_block_stop", "index": index})
    ending = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    last = {name: value for name, value in usage.items() if name.endswith(("tokens", "details"))}
    yield event_frame({"type": "message_delta", "delta": ending, "usage": last})
    yield event_frame({"type": "message_stop"})


def _take_apart(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    match block.get("type"):
        case "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            return {**block, "text": ""}, deltas
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            signature = {"type": "signature_delta", "signature": block.get("signature", "")}
            return {**block, "thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use":
            parts = ["", *pieces(json.dumps(block["input"], ensure_ascii=False))]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
        case _:
            return dict(block), []
