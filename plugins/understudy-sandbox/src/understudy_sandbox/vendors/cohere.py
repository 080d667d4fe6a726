"""Cohere's API v2: ``/v2/chat``, plain and as server-sent events. Shapes as recorded from api.cohere.com in 2026."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from understudy_sandbox.exchange import (
    Frame,
    RecordedRequest,
    Reply,
    compact,
    empty_event,
    json_reply,
    spelled_out,
    stream_reply,
)
from understudy_sandbox.text import Answer, Asked, count, identifier, pieces
from understudy_sandbox.vendors import cohere_checks, cohere_failures, cohere_thinking, conversation
from understudy_sandbox.vendors.cohere_failures import trace

NAME = "cohere"
TITLE = "Cohere"
MODELS = ("command-a-plus-05-2026", "command-a-reasoning-08-2025", "command-a-03-2025")


def environment(url: str) -> dict[str, str]:
    """See :class:`understudy_sandbox.vendors.Vendor`. The SDK reads the names that begin with CO_."""
    keys = {"COHERE_API_KEY": "sandbox-key", "CO_API_KEY": "sandbox-key"}
    return {**keys, "COHERE_BASE_URL": url, "CO_API_URL": url}


def wants_stream(path: str, query: Mapping[str, str], body: Any) -> bool:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return isinstance(body, Mapping) and body.get("stream") is True


def reply_without_model(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    problem = cohere_checks.find_problem(request)
    if problem is not None:
        return cohere_failures.error_reply(request, *problem)
    if request.path == cohere_checks.MODELS:
        return json_reply(200, {"models": [_model(name) for name in MODELS]}, trace(request))
    if request.path.startswith(cohere_checks.MODELS):
        return json_reply(200, _model(request.path.removeprefix(f"{cohere_checks.MODELS}/")), trace(request))
    return None


def reply(request: RecordedRequest, scripted: str | Mapping[str, Any] | None) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if isinstance(scripted, Mapping):
        return _deliver(request, scripted)
    answer = cohere_thinking.answer_after_thinking(_asked(request.json), request.json, scripted)
    reason = {"length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "stop_sequence": "STOP_SEQUENCE"}
    message = _message(request, answer)
    ending = reason.get(answer.finish, "COMPLETE")
    return _deliver(request, _body(request, message, ending, answer.text_tokens, answer.thought_tokens))


def contentless(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`. A blocked text is an error here, with a status of its own."""
    if kind.startswith("blocked"):
        return cohere_failures.blocked(request, "prompt" if kind == "blocked_prompt" else "reply")
    return _deliver(
        request, _body(request, {"content": []}, "MAX_TOKENS" if kind == "out_of_tokens" else "COMPLETE", 0)
    )


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return cohere_failures.failure(request, kind, options)


def error_body(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return _deliver(request, _body(request, {"content": []}, "ERROR", 0))


def error_frame(request: RecordedRequest, kind: str, before: int) -> Frame:
    """See :class:`understudy_sandbox.vendors.Vendor`. Cohere has no event for errors: the end says that it is one."""
    delta = {"finish_reason": "ERROR", "error": cohere_failures.message(request, kind)}
    return _event("message-end", delta=delta)


def null_stream(request: RecordedRequest) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return empty_event()


def with_heartbeats(request: RecordedRequest, stream: Reply, place: int, count: int) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`. Cohere sends none."""
    return stream


def while_loading(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return reply_without_model(request)


def _model(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "is_deprecated": False,
        "endpoints": ["chat"],
        "finetuned": False,
        "context_length": 256_000,
        "default_endpoints": [],
        "features": ["chat-completions", "json_mode", "json_schema", "strict_tools", "tool_choice", "tools"],
    }


def _asked(body: Mapping[str, Any]) -> Asked:
    messages, wanted = body["messages"], body.get("response_format") or {}
    form = wanted.get("json_schema") or wanted.get("schema") or {"type": "object"}
    return Asked(
        title=TITLE,
        said=conversation.last_said(messages),
        attachments=conversation.attachments(messages[-1]),
        tool_results=tuple(conversation.final_results(messages)),
        tools=conversation.offered(body.get("tools")),
        tool_choice=str(body.get("tool_choice") or "auto").lower(),
        schema=form if wanted.get("type") == "json_object" else None,
        stop=tuple(body.get("stop_sequences") or ()),
        max_tokens=cohere_thinking.limit(body),
    )


def _message(request: RecordedRequest, answer: Answer) -> dict[str, Any]:
    """The message: with tool calls a plan comes instead of text, or a thought where thinking is on."""
    content: list[dict[str, str]] = []
    if answer.thought:
        content.append({"type": "thinking", "thinking": answer.thought})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    if not answer.tool_calls:
        return {"content": content}
    message: dict[str, Any] = {"content": content} if content else {}
    if not answer.thought:
        message["tool_plan"] = f"I will use {', '.join(call.name for call in answer.tool_calls)}."
    message["tool_calls"] = [
        {
            "id": identifier(f"{call.name}_", "tool", request.number, place, length=12).lower(),
            "type": "function",
            "function": {"name": call.name, "arguments": spelled_out(call.arguments)},
        }
        for place, call in enumerate(answer.tool_calls)
    ]
    return message


def _body(
    request: RecordedRequest, message: Mapping[str, Any], reason: str, tokens: int, thoughts: int = 0
) -> dict[str, Any]:
    prompt = count(request.json.get("messages"), request.json.get("tools"))
    used = {"input_tokens": prompt, "output_tokens": tokens + thoughts}
    counted = {**used, "reasoning_tokens": thoughts} if thoughts else used
    return {
        "id": cohere_failures.identity(request),
        "message": {"role": "assistant", **message},
        "finish_reason": reason,
        "usage": {"billed_units": used, "tokens": counted, "cached_tokens": 0},
    }


def _deliver(request: RecordedRequest, body: Mapping[str, Any]) -> Reply:
    if not request.stream:
        return json_reply(200, body, trace(request))
    return stream_reply([*_events(body), Frame(b"data: [DONE]\n\n")], trace(request))


def _event(kind: str, content: bool = False, **members: Any) -> Frame:
    return Frame(f"event: {kind}\ndata: {compact({'type': kind, **members})}\n\n".encode(), content)


def _events(body: Mapping[str, Any]) -> Iterator[Frame]:
    """Take a reply apart into the events that a stream of it has."""
    message = body.get("message") or {}
    opening = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield _event("message-start", id=body.get("id"), delta={"message": opening})
    for index, part in enumerate(message.get("content") or ()):
        name = "thinking" if part.get("type") == "thinking" else "text"
        yield _event("content-start", index=index, delta={"message": {"content": {"type": name, name: ""}}})
        for piece in pieces(part.get(name) or ""):
            is_answer = name == "text"  # faults are counted from the answer's first piece
            yield _event("content-delta", is_answer, index=index, delta={"message": {"content": {name: piece}}})
        yield _event("content-end", index=index)
    for piece in pieces(message.get("tool_plan") or ""):
        yield _event("tool-plan-delta", True, delta={"message": {"tool_plan": piece}})
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        begun = {**call, "function": {**function, "arguments": ""}}
        yield _event("tool-call-start", index=index, delta={"message": {"tool_calls": begun}})
        for piece in pieces(function.get("arguments") or ""):
            delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
            yield _event("tool-call-delta", True, index=index, delta=delta)
        yield _event("tool-call-end", index=index)
    ending = {name: body[name] for name in ("finish_reason", "error", "usage") if name in body}
    yield _event("message-end", delta=ending)
