"""From our requests to Gemini's JSON, with thinking and its signatures. No SDK, no I/O. Replies: the shared package."""

from __future__ import annotations

from datetime import date
from typing import Any

from understudy import File, Image, Part, Request, ResponseWarning, Text, Thinking, ToolCall
from understudy.errors import UnsupportedRequest
from understudy_gemini import models
from understudy_gemini.options import add_options
from understudy_gemini.thinking import Plan, plan_thinking
from understudy_gemini_wire.adaptations import sign_first_call
from understudy_gemini_wire.models import takes_prefill, takes_sampling, wants_signed_calls
from understudy_gemini_wire.options import FAMILY, plain
from understudy_gemini_wire.wire import (
    NOT_IN_A_NAME,
    attachment_of,
    check_model,
    contents_of,
    ends_with_words,
    tool_config,
)
from understudy_toolkit.pairing import plain_name


def request_body(
    request: Request, model: str, provider: str, today: date, plan: Plan | None = None
) -> tuple[dict[str, Any], tuple[ResponseWarning, ...]]:
    """Write a request as Gemini's JSON.

    Args:
        request: what is asked; it is not changed.
        model: the model that will be asked.
        provider: "gemini" or "vertex", whose options count besides those of the family.
        today: the day, which decides who answers.
        plan: what is done about thinking; None for what is usually done.

    Returns:
        The body, and a warning for each setting that the model does not take.

    Raises:
        InvalidRequest: that cannot be a model's name.
        UnsupportedRequest: the conversation ends with the model's own words, and the model does not go on from there.
    """
    check_model(model, models.DEFAULT_MODEL)
    answering = models.answering_model(model, today, provider)
    if ends_with_words(request.messages) and takes_prefill(answering) is False:
        raise UnsupportedRequest(f"{model} does not continue a conversation that ends with the assistant's words")
    warnings = list(models.ending_warnings(model, today, provider))
    complete = sign_first_call if wants_signed_calls(answering) else None
    body: dict[str, Any] = {"contents": contents_of(request.messages, _part, complete)}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        body |= _tools(request)
    config = _generation_config(request, plan or plan_thinking(request, model, provider, today))
    if "temperature" in config and not takes_sampling(answering):
        del config["temperature"]
        warnings.append(ResponseWarning("temperature", f"{model} ignores temperature: it was not sent"))
    if config:
        body["generationConfig"] = config
    add_options(body, request.options, provider)
    return body, tuple(warnings)


def _part(part: Part) -> dict[str, Any] | None:
    own = part.provider_data.get(FAMILY, {})
    if "part" in own:  # of a kind that only Gemini has
        return dict(plain(own["part"]))
    signature = {"thoughtSignature": own["thoughtSignature"]} if "thoughtSignature" in own else {}
    if isinstance(part, Text):
        return {"text": part.text, **signature}
    if isinstance(part, Image | File):
        return {**attachment_of(part), **signature}
    if isinstance(part, ToolCall):
        identity = {"id": own["id"]} if "id" in own else {}
        return {
            "functionCall": {**identity, "name": plain_name(part.name, NOT_IN_A_NAME), "args": plain(part.arguments)},
            **signature,
        }
    if isinstance(part, Thinking) and signature:
        return {"text": part.text, "thought": True, **signature}
    return None  # thinking of another vendor, or without a signature, which Gemini makes nothing of


def _tools(request: Request) -> dict[str, Any]:
    declarations = [
        {"name": tool.name, "description": tool.description, "parametersJsonSchema": plain(tool.parameters)}
        for tool in request.tools
    ]
    return {"tools": [{"functionDeclarations": declarations}], "toolConfig": tool_config(request)}


def _generation_config(request: Request, plan: Plan) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.max_tokens is not None:
        config["maxOutputTokens"] = request.max_tokens + plan.room
    if plan.config is not None:
        config["thinkingConfig"] = plain(plan.config)
    if request.stop:
        config["stopSequences"] = list(request.stop)
    if request.output_schema is not None:
        config["responseMimeType"] = "application/json"
        config["responseJsonSchema"] = plain(request.output_schema)
    return config
