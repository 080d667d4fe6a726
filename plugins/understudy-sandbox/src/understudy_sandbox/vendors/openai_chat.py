"""OpenAI's Chat Completions: the plain body, and the chunks that a stream of it has. As recorded in 2025 and 2026."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from understudy_sandbox.text import Answer, Asked, count, identifier, pieces
from understudy_sandbox.vendors import conversation, openai_schemas
from understudy_sandbox.vendors.openai_failures import SIGNED, identity, model_name

DONE = Frame(b"data: [DONE]\n\n")
#: The members of a message that a stream sends piece by piece; the first two are other vendors' of this API.
_TEXTS = ("reasoning_content", "reasoning", "content", "refusal")


def asked(body: Mapping[str, Any], title: str) -> Asked:
    """Read what a request asks for."""
    messages = body["messages"]
    choice = body.get("tool_choice") or "auto"
    stop = body.get("stop") or ()
    form = openai_schemas.output_format(body)
    return Asked(
        title=title,
        said=conversation.last_said(messages),
        attachments=conversation.attachments(messages[-1]),
        tool_results=conversation.final_results(messages),
        tools=conversation.offered(body.get("tools")),
        tool_choice=choice if isinstance(choice, str) else choice["function"]["name"],
        one_tool=body.get("parallel_tool_calls") is False,
        schema={"type": "object"} if form.get("type") == "json_object" else form.get("schema"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
    )


def body_of(request: RecordedRequest, answer: Answer) -> dict[str, Any]:
    """Write the answer as a completion."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.tool_calls:
        message["content"] = answer.text or None
        message["tool_calls"] = [
            {
                "id": identifier("call_", "tool", request.number, place, length=24),
                "type": "function",
                "function": {"name": call.name, "arguments": spelled_out(call.arguments)},
            }
            for place, call in enumerate(answer.tool_calls)
        ]
    reason = "stop" if answer.finish == "stop_sequence" else answer.finish
    return _completion(request, message, reason, answer.text_tokens, answer.thought_tokens)


def contentless(request: RecordedRequest, kind: str) -> dict[str, Any]:
    """A completion without content; where a schema is asked for, a blocked reply is a refusal in words."""
    if kind == "blocked" and openai_schemas.output_format(request.json).get("type") == "json_schema":
        message = {"role": "assistant", "content": None, "refusal": f"I can't help with that.{SIGNED}"}
        return _completion(request, message, "stop", 4, 0)
    reason = {"empty": "stop", "out_of_tokens": "length"}.get(kind, "content_filter")
    return _completion(request, {"role": "assistant", "content": ""}, reason, 0, 2 if kind == "out_of_tokens" else 0)


def _completion(
    request: RecordedRequest, message: Mapping[str, Any], reason: str, text_tokens: int, thought_tokens: int
) -> dict[str, Any]:
    body = request.json
    prompt = count(body.get("messages"), body.get("tools"))
    used = text_tokens + thought_tokens
    rest = {"audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
    return {
        "id": identifier("chatcmpl-", "completion", request.number, length=29),
        "object": "chat.completion",
        "created": CREATED,
        "model": model_name(request),
        "choices": [
            {
                "index": 0,
                "message": {"refusal": None, "annotations": [], **message},
                "logprobs": None,
                "finish_reason": reason,
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": used,
            "total_tokens": prompt + used,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thought_tokens, **rest},
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


def deliver(request: RecordedRequest, body: Mapping[str, Any]) -> Reply:
    """Send a completion, in chunks to who asks for a stream."""
    if not request.stream:
        return json_reply(200, body, identity(request))
    frames = (Frame(f"data: {compact(chunk)}\n\n".encode(), delta) for chunk, delta in _chunks(request, body))
    return stream_reply([*frames, DONE], identity(request), "text/event-stream; charset=utf-8")


def _chunks(request: RecordedRequest, body: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Take a completion apart into chunks, each with whether it is a content delta."""
    usage_wanted = (request.json.get("stream_options") or {}).get("include_usage") is True
    shared = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    shared |= {"object": "chat.completion.chunk"} | ({"usage": None} if usage_wanted else {})
    for choice in body.get("choices") or ():
        index, message = choice.get("index", 0), choice.get("message") or {}
        for delta, content in _deltas(message):
            yield {**shared, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}, content
        yield (
            {**shared, "choices": [{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}]},
            False,
        )
    if usage_wanted:
        yield {**shared, "choices": [], "usage": body.get("usage")}, False


def _deltas(message: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    calls = message.get("tool_calls") or ()
    opening = {"content": None} if calls else {"content": "", "refusal": None}
    yield {"role": "assistant", **opening}, False
    for name in _TEXTS:
        for piece in pieces(message.get(name) or ""):
            yield {name: piece}, True
    for place, call in enumerate(calls):
        function = call.get("function") or {}
        start = {"index": place, **call, "function": {**function, "arguments": ""}}
        yield {"tool_calls": [start]}, False
        for piece in pieces(function.get("arguments") or ""):
            yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}, True
