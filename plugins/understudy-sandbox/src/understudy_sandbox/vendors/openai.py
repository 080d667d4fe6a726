"""OpenAI's API, and every other that took it over: Chat Completions and Responses below ``/v1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import CREATED, Frame, RecordedRequest, Reply, empty_event, json_reply
from understudy_sandbox.vendors import openai_chat, openai_checks, openai_failures, openai_responses
from understudy_sandbox.vendors.openai_failures import identity
from understudy_sandbox.vendors.openai_reasoning import answer_after_reasoning

NAME = "openai"
TITLE = "OpenAI"
MODELS = ("gpt-6-luna", "gpt-5.6-terra", "gpt-5-mini", "gpt-4.1-mini")


def environment(url: str) -> dict[str, str]:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return {"OPENAI_API_KEY": "sandbox-key", "OPENAI_BASE_URL": f"{url}/v1"}


def wants_stream(path: str, query: Mapping[str, str], body: Any) -> bool:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return isinstance(body, Mapping) and body.get("stream") is True


def reply_without_model(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    problem = openai_checks.find_problem(request)
    if problem is not None:
        return openai_failures.error_reply(request, problem)
    if request.path == openai_checks.MODELS:
        return json_reply(200, {"object": "list", "data": [_model(name) for name in MODELS]}, identity(request))
    if request.path.startswith(openai_checks.MODELS):
        return json_reply(200, _model(request.path.removeprefix(f"{openai_checks.MODELS}/")), identity(request))
    return None


def reply(request: RecordedRequest, scripted: str | Mapping[str, Any] | None) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if isinstance(scripted, Mapping):
        return _deliver(request, scripted)
    if _is_response(request):
        answer = answer_after_reasoning(openai_responses.asked(request.json, TITLE), request.json, scripted)
        return _deliver(request, openai_responses.body_of(request, answer))
    answer = answer_after_reasoning(openai_chat.asked(request.json, TITLE), request.json, scripted)
    return _deliver(request, openai_chat.body_of(request, answer))


def contentless(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if kind == "blocked_prompt":
        return openai_failures.blocked_prompt(request)
    if _is_response(request):
        return _deliver(request, openai_responses.contentless(request, kind))
    return _deliver(request, openai_chat.contentless(request, kind))


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return openai_failures.failure(request, kind, options)


def error_body(request: RecordedRequest, kind: str) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if _is_response(request):
        return openai_responses.error_body(request, kind)
    return openai_failures.error_body(request, kind)


def error_frame(request: RecordedRequest, kind: str, before: int) -> Frame:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    if _is_response(request):
        return openai_responses.error_frame(request, kind, before)
    return openai_failures.chat_error_frame(request, kind)


def null_stream(request: RecordedRequest) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return empty_event()


def with_heartbeats(request: RecordedRequest, stream: Reply, place: int, count: int) -> Reply:
    """See :class:`understudy_sandbox.vendors.Vendor`. Chat Completions sends none."""
    return openai_responses.with_keepalives(stream, place, count) if _is_response(request) else stream


def while_loading(request: RecordedRequest) -> Reply | None:
    """See :class:`understudy_sandbox.vendors.Vendor`."""
    return reply_without_model(request)


def _deliver(request: RecordedRequest, body: Mapping[str, Any]) -> Reply:
    return openai_responses.deliver(request, body) if _is_response(request) else openai_chat.deliver(request, body)


def _is_response(request: RecordedRequest) -> bool:
    return request.path == openai_checks.RESPONSES


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "understudy-sandbox"}
