"""What an Ollama server turns away before any model sees it. It asks for no key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import RecordedRequest, Reply, text_reply
from understudy_sandbox.text import count
from understudy_sandbox.vendors import ollama_thinking
from understudy_sandbox.vendors.ollama_failures import error_reply

CHAT = "/api/chat"
LOADED = "/api/ps"
UNKNOWN_MODEL = "no-such-model"
_METHODS = {CHAT: "POST", "/api/show": "POST", **dict.fromkeys(("/api/tags", LOADED, "/api/version", "/"), "GET")}
#: How Go's JSON decoder calls a value where it wanted another.
_GO = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


def find_problem(request: RecordedRequest) -> Reply | None:
    """The reply to a request that no model may see, None for a sound one."""
    method = _METHODS.get(request.path)
    if method is None:
        return text_reply(404, "404 page not found")
    if request.method not in (method, "HEAD" if method == "GET" else method):
        return text_reply(405, "405 method not allowed")
    if request.path == "/":
        return text_reply(200, "Ollama is running")
    if method == "GET":
        return None
    if not request.body:
        return error_reply(400, "missing request body")
    if not isinstance(request.json, Mapping):
        return error_reply(400, "json: cannot unmarshal the request body into Go value of type api.ChatRequest")
    complaint = _wrong(request.json) if request.path == CHAT else None
    if complaint is not None:
        return error_reply(400, complaint)
    name = request.json.get("model")
    if not name:
        return error_reply(400, "model is required")
    if str(name).startswith(UNKNOWN_MODEL):
        return error_reply(404, f"model '{name}' not found")
    return _beyond(request.json) if request.path == CHAT else None


def _beyond(body: Mapping[str, Any]) -> Reply | None:
    """The reply to a request that goes beyond its model: it cannot think, or the prompt fills its window."""
    refusal = ollama_thinking.refusal(body)
    if refusal is not None:
        return error_reply(400, refusal)
    window, prompt = (body.get("options") or {}).get("num_ctx"), count(body.get("messages"), body.get("tools"))
    if body.get("truncate") is False and isinstance(window, int) and prompt >= window:
        return error_reply(400, f"request ({prompt} tokens) exceeds the available context size ({window} tokens)")
    return None


def _wrong(body: Mapping[str, Any]) -> str | None:
    messages = body.get("messages")
    if messages is not None and not isinstance(messages, list):
        return _mismatch(messages, "messages", "[]api.Message")
    for message in messages or ():
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            return _mismatch(content, "messages.content", "string")
        for call in message.get("tool_calls") or ():
            arguments = (call.get("function") or {}).get("arguments", {})
            if not isinstance(arguments, Mapping):
                where = "messages.tool_calls.function.arguments"
                return _mismatch(arguments, where, "api.ToolCallFunctionArguments")
    wanted = body.get("format")
    if isinstance(wanted, str) and wanted not in ("", "json"):
        return f'invalid format: "{wanted}"; expected "json" or a JSON schema'
    options = body.get("options") or {}
    for name, wants, kinds in (("temperature", "float32", (int, float)), ("num_predict", "integer", (int,))):
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            return f'option "{name}" must be of type {wants}'
    return None


def _mismatch(value: Any, where: str, wanted: str) -> str:
    found = _GO.get(type(value), "null")
    return f"json: cannot unmarshal {found} into Go struct field ChatRequest.{where} of type {wanted}"
