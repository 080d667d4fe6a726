"""From our requests to Gemini's JSON, with thinking and its signatures. No SDK, no I/O. Replies: the shared package."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Any

from understudy import File, Image, Part, Request, ResponseWarning, Text, Thinking, ToolCall
from understudy.errors import UnsupportedRequest
from understudy_gemini import models
from understudy_gemini.options import add_options
from understudy_gemini.thinking import Plan, plan_thinking
from understudy_gemini_wire.failures import WITHOUT_SIGNATURES
from understudy_gemini_wire.models import takes_prefill, takes_sampling, wants_signed_calls
from understudy_gemini_wire.options import FAMILY, plain
from understudy_gemini_wire.wire import attachment_of, check_model, contents_of, tool_config

# Stands for the signature of a tool call that Gemini did not make (https://ai.google.dev/gemini-api/docs/thought-signatures).
_UNSIGNED = "skip_thought_signature_validator"


def request_body(
    request: Request, model: str, provider: str, today: date
) -> tuple[dict[str, Any], tuple[ResponseWarning, ...]]:
    """Write a request as Gemini's JSON.

    Args:
        request: what is asked; it is not changed.
        model: the model that will be asked.
        provider: "gemini" or "vertex", whose options count besides those of the family.
        today: the day, which decides who answers.

    Returns:
        The body, and a warning for each setting that the model does not take.

    Raises:
        InvalidRequest: that cannot be a model's name.
        UnsupportedRequest: the conversation ends with the model's own words, and the model does not go on from there.
    """
    check_model(model, models.DEFAULT_MODEL)
    answering = models.answering_model(model, today, provider)
    if request.messages[-1].role == "assistant" and takes_prefill(answering) is False:
        raise UnsupportedRequest(f"{model} does not go on from a conversation that ends with the assistant's words")
    warnings = list(models.ending_warnings(model, today, provider))
    unsigned = request.adaptation == WITHOUT_SIGNATURES
    complete = _sign_first_call if wants_signed_calls(answering) or unsigned else None
    contents = contents_of(request.messages, partial(_part, unsigned=unsigned), complete)
    body: dict[str, Any] = {"contents": contents}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        body |= _tools(request)
    config = _generation_config(request, plan_thinking(request, model, provider, today))
    if "temperature" in config and not takes_sampling(answering):
        del config["temperature"]
        warnings.append(ResponseWarning("temperature", f"{model} ignores temperature: it was not sent"))
    if config:
        body["generationConfig"] = config
    add_options(body, request.options, provider)
    return body, tuple(warnings)


def has_signatures(request: Request) -> bool:
    """Return whether a part of the conversation is signed by Gemini, or might have to be."""
    parts = (part for message in request.messages for part in message.parts)
    return any(isinstance(part, ToolCall) or "thoughtSignature" in part.provider_data.get(FAMILY, {}) for part in parts)


def _part(part: Part, unsigned: bool) -> dict[str, Any] | None:
    own = part.provider_data.get(FAMILY, {})
    if "part" in own:  # of a kind that only Gemini has
        return dict(plain(own["part"]))
    signed = "thoughtSignature" in own and not unsigned
    signature = {"thoughtSignature": own["thoughtSignature"]} if signed else {}
    if isinstance(part, Text):
        return {"text": part.text, **signature}
    if isinstance(part, Image | File):
        return {**attachment_of(part), **signature}
    if isinstance(part, ToolCall):
        identity = {"id": own["id"]} if "id" in own else {}
        return {"functionCall": {**identity, "name": part.name, "args": plain(part.arguments)}, **signature}
    if isinstance(part, Thinking) and signature:
        return {"text": part.text, "thought": True, **signature}
    return None  # thinking of another vendor, or without a signature, which Gemini makes nothing of


def _sign_first_call(parts: list[dict[str, Any]]) -> None:
    """Give the turn's first tool call the sign that it is not Gemini's, where no call of the turn is signed."""
    calls = [part for part in parts if "functionCall" in part]
    if calls and not any("thoughtSignature" in part for part in calls):
        calls[0]["thoughtSignature"] = _UNSIGNED


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
