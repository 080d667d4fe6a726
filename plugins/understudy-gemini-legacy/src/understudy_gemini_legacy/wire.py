"""Between our messages and Gemini's JSON: a Request out, an LLMResponse in. No SDK, no I/O. Streams: streaming.py.

What goes out is held to what google-generativeai's own message has a place for: no thinking and no signatures, schemas
in its dialect of OpenAPI (schema.py), numbers as floating point. What comes in is read in full: a part that Gemini
signed keeps its signature in `provider_data["gemini"]`, for understudy-gemini, should the conversation go on there.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from understudy import (
    ContentBlocked,
    EmptyResponse,
    File,
    FinishReason,
    Image,
    InvalidRequest,
    LLMResponse,
    MalformedResponse,
    Message,
    Part,
    Request,
    ResponseWarning,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    UnsupportedRequest,
    Usage,
    structured_output,
)
from understudy_gemini_legacy import models, schema
from understudy_gemini_legacy.failures import FINISH_REASONS, error_of, failure_of_reply, text_of, unreadable
from understudy_gemini_legacy.options import PROVIDER, add_options, own_config, plain
from understudy_toolkit.thinking import check_room

FAMILY = "gemini"  # the key of provider_data, shared with understudy-gemini: one vendor, one form
_ROLES = {"user": "user", "assistant": "model", "tool": "user"}
_MODES = {"auto": {"mode": "AUTO"}, "none": {"mode": "NONE"}, "required": {"mode": "ANY"}}
_MODEL = re.compile(r"(?:(?:models|tunedModels)/)?[A-Za-z0-9][A-Za-z0-9._-]*")
_EXACT = 2**53  # the largest whole number up to which floating point knows them all

# The parts of other kinds that google-generativeai has a place for, and what it knows of each.
_KINDS = {"executableCode": ("language", "code"), "codeExecutionResult": ("outcome", "output")}


# ---- The request ---------------------------------------------------------------------------------------------------


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
    if not _MODEL.fullmatch(model):
        raise InvalidRequest(f"expected a model's name such as {models.DEFAULT_MODEL}, found {model!r}")
    answering = models.answering_model(model, today)
    if request.messages[-1].role == "assistant" and models.takes_prefill(answering) is False:
        raise UnsupportedRequest(f"{model} does not go on from a conversation that ends with the assistant's words")
    if models.wants_signed_calls(answering) and _has_open_calls(request.messages):
        raise UnsupportedRequest(
            f"{model} wants its tool calls back with their signatures, which google-generativeai cannot carry: ask "
            f"{models.DEFAULT_MODEL}, or use understudy-gemini"
        )
    warnings = list(models.ending_warnings(model, today))
    body: dict[str, Any] = {"model": model if "/" in model else f"models/{model}"}
    body["contents"] = _contents(request.messages)
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        body |= _tools(request, warnings)
    room = models.room_for(request, model, own_config(request.options, provider), today)
    config = _generation_config(request, room.tokens, warnings)
    if "temperature" in config and not models.takes_sampling(answering):
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


def _contents(messages: Sequence[Message]) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    calls: dict[str, ToolCall] = {}
    after_tools = False
    for message in messages:
        if message.role == "tool":
            parts = _tool_results(message, calls)
            if after_tools:  # Gemini wants all results of one turn in one turn
                contents[-1]["parts"].extend(parts)
                continue
        else:
            calls |= {part.id: part for part in message.parts if isinstance(part, ToolCall)}
            parts = [written for part in message.parts if (written := _part(part)) is not None]
        after_tools = message.role == "tool"
        contents.append({"role": _ROLES[message.role], "parts": parts or [{"text": ""}]})
    return contents


def _part(part: Part) -> dict[str, Any] | None:
    own = part.provider_data.get(FAMILY, {})
    if "part" in own:  # of a kind that only Gemini has
        return _part_of_a_kind(own["part"])
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, Image | File):
        return _attachment(part)
    if isinstance(part, ToolCall):
        identity = {"id": own["id"]} if "id" in own else {}
        return {"functionCall": {**identity, "name": part.name, "args": _countable(part.arguments, part.name)}}
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


def _attachment(part: Image | File) -> dict[str, Any]:
    if part.data is not None:
        return {"inlineData": {"mimeType": part.media_type, "data": base64.b64encode(part.data).decode()}}
    media_type = part.media_type or mimetypes.guess_type(part.url or "")[0]
    return {"fileData": {"fileUri": part.url, **({"mimeType": media_type} if media_type else {})}}


def _tool_results(message: Message, calls: Mapping[str, ToolCall]) -> list[dict[str, Any]]:
    """Write the results in the order of their calls: where a call has no id, Gemini matches by name and order."""
    order = {call_id: place for place, call_id in enumerate(calls)}
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    return [_tool_result(part, calls) for part in sorted(results, key=lambda part: order.get(part.call_id, len(order)))]


def _tool_result(result: ToolResult, calls: Mapping[str, ToolCall]) -> dict[str, Any]:
    if not isinstance(result.content, str) and any(not isinstance(part, Text) for part in result.content):
        raise UnsupportedRequest("google-generativeai cannot carry images and files in the result of a tool")
    call = calls.get(result.call_id)
    own = call.provider_data.get(FAMILY, {}) if call is not None else {}
    response: dict[str, Any] = {"name": result.name or (call.name if call is not None else result.call_id)}
    if "id" in own:
        response["id"] = own["id"]
    response["response"] = {"error" if result.is_error else "output": result.text}
    return {"functionResponse": response}


def _tools(request: Request, warnings: list[ResponseWarning]) -> dict[str, Any]:
    declarations = []
    for tool in request.tools:
        declaration: dict[str, Any] = {"name": tool.name, "description": tool.description}
        parameters, left_out = schema.translate(tool.parameters, f"the parameters of {tool.name}")
        if parameters is not None:
            declaration["parameters"] = parameters
        warnings += _left_out("tools", f"the parameters of {tool.name}", left_out)
        declarations.append(declaration)
    mode = _MODES.get(request.tool_choice, {"mode": "ANY", "allowedFunctionNames": [request.tool_choice]})
    return {"tools": [{"functionDeclarations": declarations}], "toolConfig": {"functionCallingConfig": dict(mode)}}


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
        translated, left_out = schema.translate(request.output_schema, "the output schema")
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


# ---- The reply -----------------------------------------------------------------------------------------------------


def read_json(text: str | bytes) -> Any:
    """Parse a reply's body.

    Raises:
        MalformedResponse: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    raise unreadable(shown, "a reply in JSON")


def response_of(
    body: Any,
    headers: Mapping[str, str],
    request: Request,
    warnings: tuple[ResponseWarning, ...] = (),
    *,
    provider: str = PROVIDER,
    model: str | None = None,
    adaptation: str | None = None,
    given: bool = False,
) -> LLMResponse:
    """Read a reply.

    Args:
        body: the reply's JSON, parsed.
        headers: its headers.
        request: what was asked.
        warnings: what the request was sent without.
        provider: who was asked.
        model: the model that was asked.
        adaptation: how the answer may come after all where thinking used up its tokens; None where nothing helps.
        given: whether the caller of a stream holds some of it already.

    Raises:
        Failure: the reply is an error, a refusal, empty, cut short by thinking, or not what the API promises.
    """
    if error_of(body) is not None:
        raise failure_of_reply(200, headers, body)
    candidate = _candidate(body)
    parts = tuple(_parts_of(candidate, request))
    reason = _finish_reason(candidate, parts)
    content = "".join(part.text for part in parts if isinstance(part, Text))
    response_id = text_of(body.get("responseId"))
    usage = _usage(_mapping(body.get("usageMetadata")))
    if not content.strip() and not any(isinstance(part, ToolCall | Image | File) for part in parts):
        raise _empty(reason, usage, response_id, adaptation)
    settled = given or adaptation is None
    told = check_room(request, reason, usage, thought=usage.thinking_tokens > 0, given=settled)
    return LLMResponse(
        True,
        content,
        provider,
        metadata=_metadata(body, candidate),
        model=text_of(body.get("modelVersion")) or model,
        finish_reason=reason,
        usage=usage,
        parts=parts,
        structured=structured_output(request, content, reason),
        warnings=warnings + told,
        request_id=response_id,
    )


def _empty(reason: FinishReason, usage: Usage, response_id: str | None, adaptation: str | None) -> EmptyResponse:
    """Return the failure of an answer without anything in it, and what may help where its tokens were used up."""
    words = "expected text or a tool call, found none"
    if reason is not FinishReason.LENGTH:
        return EmptyResponse(words, status=200, request_id=response_id)
    by = f", by {usage.thinking_tokens} tokens of thinking" if usage.thinking_tokens else ""
    return EmptyResponse(
        f"{words}: max_tokens was used up before it{by}",
        status=200,
        request_id=response_id,
        adaptation=adaptation,
        usage=usage if usage.output_tokens else None,
    )


def _candidate(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise unreadable(json.dumps(body), "a JSON object")
    response_id = text_of(body.get("responseId"))
    feedback = _mapping(body.get("promptFeedback"))
    if feedback.get("blockReason"):
        message = text_of(feedback.get("blockReasonMessage")) or "the prompt was blocked"
        raise ContentBlocked(message, status=200, code=str(feedback["blockReason"]), request_id=response_id)
    candidates = body.get("candidates")
    if isinstance(candidates, list) and candidates and isinstance(candidates[0], Mapping):
        return candidates[0]
    if "usageMetadata" in body or "promptFeedback" in body:
        raise EmptyResponse("expected a candidate, found none", status=200, request_id=response_id)
    raise unreadable(json.dumps(body), "a reply with candidates")


def _parts_of(candidate: Mapping[str, Any], request: Request) -> Iterator[Part]:
    name = CallNames(request)
    for part in raw_parts(candidate):
        read = _part_of(part, name)
        if read is not None:
            yield read


def raw_parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of a candidate as they came.

    Raises:
        MalformedResponse: one of them is no JSON object.
    """
    parts = _mapping(candidate.get("content")).get("parts") or []
    if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
        raise unreadable(json.dumps(parts), "a list of parts")
    return parts


def _part_of(part: Mapping[str, Any], name: CallNames) -> Part | None:
    own = {key: part[key] for key in ("thoughtSignature",) if key in part}
    data = {"provider_data": {FAMILY: own}} if own else {}
    if "functionCall" in part:
        call = checked_call(part["functionCall"])
        if call.get("id"):
            data = {"provider_data": {FAMILY: {**own, "id": call["id"]}}}
        return ToolCall(id=name(call), name=call["name"], arguments=call.get("args") or {}, **data)
    if isinstance(part.get("text"), str):
        if part.get("thought"):
            return Thinking(part["text"], provider_data={FAMILY: own})
        return Text(part["text"], **data) if part["text"] or own else None
    if "inlineData" in part and not part.get("thought"):
        return _inline_data(part["inlineData"], data)
    return Text("", provider_data={FAMILY: {"part": dict(part)}}) if part.keys() - {"thought"} else None


def checked_call(call: Any) -> Mapping[str, Any]:
    if isinstance(call, Mapping) and isinstance(call.get("name"), str) and isinstance(call.get("args") or {}, Mapping):
        return call
    raise unreadable(json.dumps(call), "a tool call with a name and arguments")


def _inline_data(blob: Any, data: Mapping[str, Any]) -> Image | File:
    try:
        media_type, content = str(blob["mimeType"]), base64.b64decode(blob["data"])
    except (TypeError, KeyError, binascii.Error):
        raise unreadable(json.dumps(blob), "data in base64 with its type") from None
    kind = Image if media_type.startswith("image/") else File
    return kind(data=content, media_type=media_type, **data)


class CallNames:
    """Names tool calls that Gemini gave no id, each differently from all others of the conversation."""

    def __init__(self, request: Request) -> None:
        calls = [part.id for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
        self._taken = set(calls)
        self._number = len(calls)

    def __call__(self, call: Mapping[str, Any]) -> str:
        given = call.get("id")
        name = str(given) if given else ""
        while not name or (not given and name in self._taken):
            name = f"call_{self._number}_{call['name']}"
            self._number += 1
        self._taken.add(name)
        return name


def _finish_reason(candidate: Mapping[str, Any], parts: tuple[Part, ...]) -> FinishReason:
    told = text_of(candidate.get("finishReason"))
    if told is None:
        raise MalformedResponse("expected a reason why the model stopped, found none", status=200)
    reason = FINISH_REASONS.get(told, FinishReason.UNKNOWN)
    if not isinstance(reason, FinishReason):
        message = text_of(candidate.get("finishMessage")) or f"the model stopped for {told}"
        raise reason(message, status=200, code=told)
    called = any(isinstance(part, ToolCall) for part in parts)
    return FinishReason.TOOL_CALLS if called and reason is FinishReason.STOP else reason


def _usage(usage: Mapping[str, Any]) -> Usage:
    def count(name: str) -> int:
        value = usage.get(f"{name}TokenCount")
        return value if isinstance(value, int) else 0

    return Usage(
        input_tokens=count("prompt") + count("toolUsePrompt"),
        output_tokens=count("candidates") + count("thoughts"),
        thinking_tokens=count("thoughts"),
        cache_read_tokens=count("cachedContent"),
    )


def _metadata(body: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: body[name] for name in ("modelVersion", "responseId") if name in body}
    kept = ("finishReason", "finishMessage", "citationMetadata", "groundingMetadata", "safetyRatings")
    return told | {name: candidate[name] for name in kept if name in candidate}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
