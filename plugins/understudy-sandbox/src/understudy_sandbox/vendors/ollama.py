"""Ollama's own API below ``/api``: chat, plain and as lines of JSON, and its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from understudy_sandbox.exchange import CREATED_AT, Frame, RecordedRequest, Reply, compact, json_reply, stream_reply
from understudy_sandbox.text import Answer, Asked, as_text, compose, count, identifier, pieces
from understudy_sandbox.vendors import conversation, ollama_checks, ollama_failures, ollama_thinking
from understudy_sandbox.vendors.ollama_failures import SIGNED, model_name

NAME = "ollama"
TITLE = "Ollama"
#: Models that were pulled; all of them are in memory, and no others.
MODELS = ("gemma4:latest", "qwen3.6:latest", "gpt-oss:20b")
#: Models whose template leaves an assistant's message at the end open, so that they go on from it.
_PREFILL = ("llama3.1", "llama3.2", "llama3.3", "qwen3-coder")
_DURATIONS = {"total_duration": 3_000_000, "load_duration": 1_000_000}  # nanoseconds, as all of Ollama's
_PART = 1_000_000


def environment(url: str) -> dict[str, str]:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return {"OLLAMA_BASE_URL": url, "OLLAMA_HOST": url}


def wants_stream(path: str, query: Mapping[str, str], body: Any) -> bool:
    """See :class:`understudy_sandbox.vendors.Vendor`. Ollama streams unless it is told not to."""
    return path == ollama_checks.CHAT and not (isinstance(body, Mapping) and body.get("stream") is False)


def reply_without_model(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    problem = ollama_checks.find_problem(request)
    if problem is not None:
        return problem
    match request.path:
        case "/api/tags":
            return json_reply(200, {"models": [_model(name) for name in MODELS]})
        case "/api/version":
            return json_reply(200, {"version": "0.0.0-sandbox"})
        case "/api/show":
            return json_reply(200, _shown(model_name(request)))
        case ollama_checks.CHAT if not request.json.get("messages"):  # this only loads the model
            return json_reply(200, _body(request, {"content": ""}, "load", 0))
    return None


def reply(request: RecordedRequest, scripted: str | Mapping[str, Any] | None) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`. A scripted body says which models are in memory, where asked."""
    if request.path == ollama_checks.LOADED:
        return json_reply(200, scripted if isinstance(scripted, Mapping) else {"models": [_loaded(m) for m in MODELS]})
    if isinstance(scripted, Mapping):
        return _deliver(request, scripted)
    answer = _answer(request.json, scripted)
    reason = "length" if answer.finish == "length" else "stop"
    return _deliver(
        request, _body(request, _message(request, answer), reason, answer.text_tokens + answer.thought_tokens)
    )


def contentless(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`. Nothing blocks here: a model that refuses says so in words."""
    if kind.startswith("blocked"):
        return _deliver(request, _body(request, {"content": f"I can't help with that.{SIGNED}"}, "stop", 4))
    spent = ollama_thinking.limit(_sent(request).get("options") or {}, _count(_sent(request))) or 0
    cut = kind == "out_of_tokens"
    return _deliver(request, _body(request, {"content": ""}, "length" if cut else "stop", spent if cut else 0))


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return ollama_failures.failure(request, kind, options)


def error_body(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return json_reply(200, ollama_failures.document(request, kind))


def error_frame(request: RecordedRequest, kind: str, before: int) -> Frame:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return _line(ollama_failures.document(request, kind))


def null_stream(request: RecordedRequest) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return _lines([_line({})])


def with_heartbeats(request: RecordedRequest, stream: Reply, place: int, count: int) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`. Ollama sends none."""
    return stream


def while_loading(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`. Nothing is in memory meanwhile."""
    if request.path == ollama_checks.LOADED:
        return json_reply(200, {"models": []})
    waits = request.path == ollama_checks.CHAT
    return ollama_checks.find_problem(request) if waits else reply_without_model(request)


def _model(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": CREATED_AT,
        "size": 0,
        "digest": identifier("", "digest", name, length=40),
        "details": _details(name),
        "capabilities": _capabilities(name),
    }


def _loaded(name: str) -> dict[str, Any]:
    model = _model(name)
    kept = ("name", "model", "size", "digest", "details")
    times = {"expires_at": CREATED_AT, "size_vram": 0, "context_length": 4096}
    return {**{field: model[field] for field in kept}, **times}


def _capabilities(name: str) -> list[str]:
    return ["completion", "tools", *(["thinking"] if ollama_thinking.can_think(name) else []), "vision"]


def _details(name: str) -> dict[str, Any]:
    family = name.partition(":")[0]
    return {
        "parent_model": "",
        "format": "sandbox",
        "family": family,
        "families": [family],
        "parameter_size": "0B",
        "quantization_level": "none",
    }


def _shown(name: str) -> dict[str, Any]:
    return {
        "modelfile": f"# The Understudy sandbox stands in for {name}.",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details(name),
        "model_info": {"general.architecture": "sandbox", "sandbox.context_length": 131_072},
        "capabilities": _capabilities(name),
        "modified_at": CREATED_AT,
    }


def _answer(body: Mapping[str, Any], scripted: str | None) -> Answer:
    """Think, where the model does, and answer with what that leaves of the limit."""
    limit = ollama_thinking.limit(body.get("options") or {}, _count(body))
    words = pieces(ollama_thinking.thought(body))
    thought = words if limit is None else words[:limit]
    left = None if limit is None else limit - len(thought)
    answer = compose(replace(_asked(body), max_tokens=left), scripted)
    if len(thought) < len(words):  # cut before it was thought to its end
        answer = replace(answer, tool_calls=(), finish="length")
    return replace(answer, thought="".join(thought), thought_tokens=len(thought))


def _asked(body: Mapping[str, Any]) -> Asked:
    options, wanted = body.get("options") or {}, body.get("format")
    stop = options.get("stop") or ()
    messages = body["messages"]
    return Asked(
        title=TITLE,
        said=conversation.last_said(messages),
        attachments=tuple("image" for _ in messages[-1].get("images") or ()),
        tool_results=conversation.final_results(messages),
        tools=conversation.offered(body.get("tools")),
        schema={"type": "object"} if wanted == "json" else wanted or None,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        begun=str(messages[-1].get("content") or "") if _goes_on(body) else "",
    )


def _goes_on(body: Mapping[str, Any]) -> bool:
    return body["messages"][-1].get("role") == "assistant" and str(body["model"]).startswith(_PREFILL)


def _message(request: RecordedRequest, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"content": answer.text}
    if answer.thought:
        message["thinking"] = answer.thought
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": identifier("call_", "tool", request.number, place, length=8).lower(),
                "function": {"index": place, "name": call.name, "arguments": dict(call.arguments)},
            }
            for place, call in enumerate(answer.tool_calls)
        ]
    return message


def _body(request: RecordedRequest, message: Mapping[str, Any], reason: str, tokens: int) -> dict[str, Any]:
    return {
        "model": model_name(request),
        "created_at": CREATED_AT,
        "message": {"role": "assistant", **message},
        "done": True,
        "done_reason": reason,
        **_DURATIONS,
        "prompt_eval_count": _count(_sent(request)),
        "prompt_eval_duration": _PART,
        "eval_count": tokens,
        "eval_duration": _PART,
    }


def _sent(request: RecordedRequest) -> Mapping[str, Any]:
    return request.json if isinstance(request.json, Mapping) else {}


def _count(body: Mapping[str, Any]) -> int:
    return count(body.get("messages"), body.get("tools"))


def _deliver(request: RecordedRequest, body: Mapping[str, Any]) -> Reply:
    if not request.stream:
        return json_reply(200, body)
    return _lines([_line(chunk, delta) for chunk, delta in _chunks(body)])


def _lines(lines: list[Frame]) -> Reply:
    return stream_reply(lines, content_type="application/x-ndjson")


def _line(document: Mapping[str, Any], delta: bool = False) -> Frame:
    return Frame(f"{compact(document)}\n".encode(), delta)


def _chunks(body: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Take a reply apart into the lines that a stream of it has; the last one has no content and says why it ends."""
    message = body.get("message") or {}
    shared = {name: body[name] for name in ("model", "created_at") if name in body}
    role, calls = message.get("role", "assistant"), message.get("tool_calls") or ()
    for piece in ollama_thinking.lines(as_text(message.get("thinking") or "")):  # no delta: it is none of the answer
        yield {**shared, "message": {"role": role, "content": "", "thinking": piece}, "done": False}, False
    deltas: list[dict[str, Any]] = [
        {"role": role, "content": piece} for piece in pieces(as_text(message.get("content") or ""))
    ]
    deltas += [{"role": role, "content": "", "tool_calls": [call]} for call in calls]
    for delta in deltas:
        yield {**shared, "message": delta, "done": False}, True
    yield {**body, "message": {"role": role, "content": ""}}, False
