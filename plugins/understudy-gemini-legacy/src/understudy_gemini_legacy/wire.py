"""From our requests to the JSON that google-generativeai has a place for. No SDK, no I/O. Replies: the shared package.

What goes out is held to what google-generativeai's own message has a place for: no thinking and no signatures, schemas
in the API's older dialect, numbers as floating point. What comes in is read in full: a part that Gemini signed keeps
its signature in `provider_data["gemini"]`, for understudy-gemini, should the conversation go on there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from understudy import File, Image, Message, Part, Request, ResponseWarning, Text, ToolCall, ToolResult
from understudy.errors import UnsupportedRequest
from understudy_gemini_legacy import models
from understudy_gemini_legacy.options import add_options, own_config
from understudy_gemini_wire.models import (
    answering_model,
    ending_warnings,
    takes_prefill,
    takes_sampling,
    wants_signed_calls,
)
from understudy_gemini_wire.options import FAMILY, plain
from understudy_gemini_wire.schema import translate
from understudy_gemini_wire.wire import (
    NOT_IN_A_NAME,
    attachment_of,
    check_model,
    contents_of,
    ends_with_words,
    tool_config,
)
from understudy_toolkit.pairing import plain_name

_EXACT = 2**53  # the largest whole number up to which floating point knows them all

# The parts of other kinds that google-generativeai has a place for, and what it knows of each.
_KINDS = {"executableCode": ("language", "code"), "codeExecutionResult": ("outcome", "output")}


def request_body(
    request: Request, model: str, provider: str, today: date
) -> tuple[dict[str, Any], tuple[ResponseWarning, ...]]:
    """Write a request as the JSON of the SDK's GenerateContentRequest.

    Args:
        request: what is asked; it is not changed.
        model: the model that will be asked.
        provider: the name that the provider goes by, whose options count besides those of gemini-legacy.
        today: the day, which decides who answers.

    Returns:
        The body with the model in it, and a warning for each setting that is not passed on.

    Raises:
        InvalidRequest: that cannot be a model's name.
        UnsupportedRequest: the SDK or the model does not take something that the request needs.
    """
    check_model(model, models.DEFAULT_MODEL)
    answering = answering_model(model, today)
    if ends_with_words(request.messages) and takes_prefill(answering) is False:
        raise UnsupportedRequest(f"{model} does not continue a conversation that ends with the assistant's words")
    if wants_signed_calls(answering) and _has_open_calls(request.messages):
        raise UnsupportedRequest(
            f"{model} wants its tool calls back with their signatures, which google-generativeai cannot carry: ask "
            f"{models.DEFAULT_MODEL}, or use understudy-gemini"
        )
    _check_results(request.messages)
    warnings = list(ending_warnings(model, today))
    body: dict[str, Any] = {"model": model if "/" in model else f"models/{model}"}
    body["contents"] = contents_of(request.messages, _part)
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        body |= _tools(request, warnings)
    room = models.room_for(request, model, own_config(request.options, provider), today)
    config = _generation_config(request, room.tokens, warnings)
    if "temperature" in config and not takes_sampling(answering):
        del config["temperature"]
        warnings.append(ResponseWarning("temperature", f"{model} ignores temperature: it was not sent"))
    if config:
        body["generationConfig"] = config
    add_options(body, request.options, provider)
    return body, tuple(warnings)


def _has_open_calls(messages: Sequence[Message]) -> bool:
    """Whether the turn that goes on has tool calls: those before the user's last words need no signature any more."""
    for message in reversed(messages):
        if message.role == "user":
            return False
        if any(isinstance(part, ToolCall) for part in message.parts):
            return True
    return False


def _check_results(messages: Sequence[Message]) -> None:
    for part in (part for message in messages for part in message.parts):
        pieces = part.content if isinstance(part, ToolResult) and not isinstance(part.content, str) else ()
        if not all(isinstance(piece, Text) for piece in pieces):
            raise UnsupportedRequest("google-generativeai cannot carry images and files in the result of a tool")


def _part(part: Part) -> dict[str, Any] | None:
    own = part.provider_data.get(FAMILY, {})
    if "part" in own:  # of a kind that only Gemini has
        return _part_of_a_kind(own["part"])
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, Image | File):
        return attachment_of(part)
    if isinstance(part, ToolCall):
        identity = {"id": own["id"]} if "id" in own else {}
        return {
            "functionCall": {
                **identity,
                "name": plain_name(part.name, NOT_IN_A_NAME),
                "args": _countable(part.arguments, part.name),
            }
        }
    return None  # thinking, which this SDK has no place for


def _part_of_a_kind(part: Mapping[str, Any]) -> dict[str, Any] | None:
    for kind, members in _KINDS.items():
        if isinstance(part.get(kind), Mapping):
            return {kind: {name: part[kind][name] for name in members if name in part[kind]}}
    return None


def _countable(arguments: Mapping[str, Any], name: str) -> Any:
    """Copy a tool call's arguments, unless the SDK, which writes every number as floating point, would change one."""

    def check(value: Any) -> None:
        if isinstance(value, int) and abs(value) > _EXACT:
            raise UnsupportedRequest(f"google-generativeai cannot carry {value}, an argument of {name}, exactly")
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(inner)

    copy = plain(arguments)
    check(copy)
    return copy


def _tools(request: Request, warnings: list[ResponseWarning]) -> dict[str, Any]:
    declarations = []
    for tool in request.tools:
        declaration: dict[str, Any] = {"name": tool.name, "description": tool.description}
        parameters, left_out = translate(tool.parameters, f"the parameters of {tool.name}")
        if parameters is not None:
            declaration["parameters"] = parameters
        warnings += _left_out("tools", f"the parameters of {tool.name}", left_out)
        declarations.append(declaration)
    return {"tools": [{"functionDeclarations": declarations}], "toolConfig": tool_config(request)}


def _generation_config(request: Request, room: int, warnings: list[ResponseWarning]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.max_tokens is not None:
        config["maxOutputTokens"] = request.max_tokens + room
    if request.stop:
        config["stopSequences"] = list(request.stop)
    if request.output_schema is not None:
        config["responseMimeType"] = "application/json"
        translated, left_out = translate(request.output_schema, "the output schema")
        if translated is not None:
            config["responseSchema"] = translated
        free = ("an object of any form",) if translated is None else ()
        warnings += _left_out("output_schema", "the output schema", free or left_out)
    return config


def _left_out(setting: str, where: str, keywords: Sequence[str]) -> list[ResponseWarning]:
    if not keywords:
        return []
    message = f"google-generativeai cannot carry {', '.join(keywords)} in {where}: not sent"
    return [ResponseWarning(setting, message)]
