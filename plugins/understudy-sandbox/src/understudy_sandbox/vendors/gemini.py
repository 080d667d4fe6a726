"""Google's Gemini API, and the same models on Vertex AI. Shapes as recorded from Google in 2025 and 2026."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from understudy_sandbox.exchange import Frame, RecordedRequest, Reply, compact, empty_event, json_reply, stream_reply
from understudy_sandbox.text import THOUGHT, Answer, Asked, Tool, as_text, compose, count, identifier, pieces
from understudy_sandbox.vendors import gemini_failures, gemini_thinking
from understudy_sandbox.vendors.gemini_checks import (
    SIGNATURE,
    begun,
    counted,
    find_problem,
    pick,
    route,
    thinking_config,
)
from understudy_sandbox.vendors.gemini_enums import calling_mode, named_types, numbered, wants_numbers

NAME = "gemini"
TITLE = "Gemini"
MODELS = ("gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-flash-lite")
_SAFETY = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}


def environment(url: str) -> dict[str, str]:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return {"GOOGLE_API_KEY": "sandbox-key", "GEMINI_BASE_URL": url, "VERTEX_BASE_URL": url}


def wants_stream(path: str, query: Mapping[str, str], body: Any) -> bool:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return path.endswith(":streamGenerateContent")


def reply_without_model(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    problem = find_problem(request)
    if problem is not None:
        return gemini_failures.error_reply(request, problem.status, problem.message, problem.details)
    where = route(request.path)
    if where is not None and where.method == "listModels" and where.vertex:
        return json_reply(200, {"publisherModels": [{"name": f"publishers/google/models/{name}"} for name in MODELS]})
    if where is None or where.method == "listModels":
        return json_reply(200, {"models": [_model(name) for name in MODELS]})
    if where.method == "getModel":
        return json_reply(200, _model(where.model))
    if where.method == "countTokens":
        return json_reply(200, {"totalTokens": _prompt_tokens(counted(request.json))})
    return None


def reply(request: RecordedRequest, scripted: str | Mapping[str, Any] | None) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if isinstance(scripted, Mapping):
        return _deliver(request, scripted)
    where, config = route(request.path), thinking_config(request.json)
    thoughts = gemini_thinking.thought(where.model if where else "", config)
    limit = pick(pick(request.json, "generationConfig", {}), "maxOutputTokens")
    if limit is not None and thoughts >= limit:  # thinking counts within it, and comes first
        answer, thoughts = Answer("", "", (), "length", None, 0, 0), limit
    else:
        answer = compose(_asked(request.json, None if limit is None else limit - thoughts), scripted)
    shown = bool(thoughts) and config["includeThoughts"] is True
    signed = shown or (bool(thoughts) and gemini_thinking.is_of_3(where.model if where else ""))
    parts = _parts(request, answer, shown, signed)
    return _deliver(request, _body(request, parts, answer, thoughts))


def contentless(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if kind == "blocked_prompt":
        body = {"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": [_SAFETY]}}
        return _deliver(request, body | _ending(request, 0, 0))
    reason = {"empty": "STOP", "out_of_tokens": "MAX_TOKENS"}.get(kind, "SAFETY")
    candidate: dict[str, Any] = {"content": {"role": "model"}, "finishReason": reason, "index": 0}
    if reason == "SAFETY":
        candidate = {"finishReason": reason, "index": 0, "safetyRatings": [_SAFETY]}
    return _deliver(request, {"candidates": [candidate]} | _ending(request, 0, 2 if reason == "MAX_TOKENS" else 0))


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return gemini_failures.failure(request, kind, options)


def error_body(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return replace(failure(request, kind, {}), status=200)


def error_frame(request: RecordedRequest, kind: str, before: int) -> Frame:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return gemini_failures.error_frame(request, kind, first=not before)


def null_stream(request: RecordedRequest) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return empty_event() if _sends_events(request) else _json_array([Frame(b"[{}")])


def with_heartbeats(request: RecordedRequest, stream: Reply, place: int, count: int) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`. Google sends none."""
    return stream


def while_loading(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return reply_without_model(request)


def _model(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": f"{name} (Understudy sandbox)",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _asked(body: Mapping[str, Any], most: int | None) -> Asked:
    config = pick(body, "generationConfig", {})
    calling = pick(pick(body, "toolConfig", {}), "functionCallingConfig", {})
    allowed = pick(calling, "allowedFunctionNames", [])
    declared = [one for tool in body.get("tools") or () for one in pick(tool, "functionDeclarations", [])]
    turns = body["contents"]
    last = turns[-1].get("parts") or []
    said = next((text for turn in reversed(turns) if (text := _said(turn))), "")
    data = [one for part in last for one in (pick(part, "inlineData"), pick(part, "fileData")) if one]
    results = [pick(part, "functionResponse") for part in last]
    schema = pick(config, "responseJsonSchema") or pick(config, "responseSchema")
    wants_json = pick(config, "responseMimeType") == "application/json"
    return Asked(
        title=TITLE,
        said=said,
        attachments=tuple(str(pick(one, "mimeType", "a file")) for one in data),
        tool_results=tuple(as_text(one.get("response", {})) for one in results if one),
        tools=tuple(_tool(one) for one in declared if not allowed or one["name"] in allowed),
        tool_choice={"ANY": "required", "NONE": "none"}.get(calling_mode(pick(calling, "mode", "AUTO")), "auto"),
        schema=(named_types(schema) or {"type": "object"}) if wants_json else None,
        stop=tuple(pick(config, "stopSequences", [])),
        max_tokens=most,
        begun=begun(body),
    )


def _tool(declaration: Mapping[str, Any]) -> Tool:
    schema = pick(declaration, "parametersJsonSchema") or declaration.get("parameters") or {"type": "object"}
    return Tool(declaration["name"], named_types(schema))


def _said(turn: Mapping[str, Any]) -> str:
    if turn.get("role", "user") != "user":
        return ""
    return "\n".join(part["text"] for part in turn.get("parts") or () if part.get("text"))


def _prompt_tokens(body: Mapping[str, Any]) -> int:
    return count(pick(body, "systemInstruction"), pick(body, "contents"), pick(body, "tools"))


def _parts(request: RecordedRequest, answer: Answer, shown: bool, signed: bool) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    signature = identifier(SIGNATURE, "signature", request.number, length=42)
    if shown:
        parts.append({"text": THOUGHT, "thought": True})
    if answer.text:
        parts.append({"text": answer.text})
    parts += [{"functionCall": {"name": call.name, "args": dict(call.arguments)}} for call in answer.tool_calls]
    first = len(parts) - len(answer.tool_calls)
    if answer.tool_calls:
        parts[first]["thoughtSignature"] = signature
    elif signed and answer.text:
        parts[-1]["thoughtSignature"] = signature
    return parts


def _body(request: RecordedRequest, parts: list[dict[str, Any]], answer: Answer, thoughts: int) -> dict[str, Any]:
    reason = "MAX_TOKENS" if answer.finish == "length" else "STOP"
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    candidate: dict[str, Any] = {"content": content, "finishReason": reason, "index": 0}
    if answer.tool_calls:
        candidate["finishMessage"] = "Model generated function call(s)."
    return {"candidates": [candidate]} | _ending(request, answer.text_tokens, thoughts)


def _ending(request: RecordedRequest, candidates: int, thoughts: int) -> dict[str, Any]:
    """The members of a reply after its candidates: usage that adds up, the model, an id."""
    prompt = _prompt_tokens(request.json)
    usage = {"promptTokenCount": prompt, "candidatesTokenCount": candidates, "thoughtsTokenCount": thoughts}
    usage = {name: value for name, value in usage.items() if value or name == "promptTokenCount"}
    where = route(request.path)
    return {
        "usageMetadata": {
            **usage,
            "totalTokenCount": prompt + candidates + thoughts,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        },
        "modelVersion": where.model if where else "",
        "responseId": identifier("", "response", request.number),
    }


def _deliver(request: RecordedRequest, body: Mapping[str, Any]) -> Reply:
    body = numbered(body) if wants_numbers(request) else body
    if not request.stream:
        return json_reply(200, body, (("x-gemini-service-tier", "standard"),))
    chunks = list(_chunks(body))
    if _sends_events(request):
        return stream_reply(Frame(f"data: {compact(chunk)}\r\n\r\n".encode(), delta) for chunk, delta in chunks)
    array = [
        Frame(f"{',' if place else '['}{compact(chunk)}\r\n".encode(), delta)
        for place, (chunk, delta) in enumerate(chunks)
    ]
    return _json_array(array)


def _sends_events(request: RecordedRequest) -> bool:
    """Whether this stream is one of server-sent events; without being asked, Google streams a JSON array."""
    return request.query.get("alt") == "sse"


def _json_array(elements: list[Frame]) -> Reply:
    return stream_reply([*elements, Frame(b"]")], content_type="application/json; charset=UTF-8")


def _chunks(body: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Take a reply apart into the chunks that a stream of it has, and whether each is a content delta.

    The last one carries the finish reason and the full usage, and an empty text: Google sends those.
    """
    candidates = body.get("candidates") or []
    parts = (candidates[0].get("content") or {}).get("parts") if candidates else None
    if not parts:
        yield dict(body), False
        return
    usage = body.get("usageMetadata") or {}
    shared = {name: value for name, value in body.items() if name not in ("candidates", "usageMetadata")}
    prompt = usage.get("promptTokenCount", 0)
    partial = {"promptTokenCount": prompt, "totalTokenCount": prompt}
    signature: dict[str, Any] = {}
    for part in parts:
        rest = dict(part)
        if "text" in rest and "thoughtSignature" in rest:
            signature = {"thoughtSignature": rest.pop("thoughtSignature")}
        for piece in pieces(rest["text"]) if "text" in rest else [None]:
            shown = rest if piece is None else {**rest, "text": piece}
            candidate = {"content": {"parts": [shown], "role": "model"}, "index": 0}
            yield {"candidates": [candidate], "usageMetadata": partial, **shared}, True
    last = {**candidates[0], "content": {"parts": [{"text": "", **signature}], "role": "model"}}
    yield {**body, "candidates": [last, *candidates[1:]]}, False
