"""Between our messages and Gemini's JSON: messages to contents, and a reply to an LLMResponse. No SDK, no I/O.

A part that came from Gemini carries in `provider_data["gemini"]` what Gemini wants back with it: the signature of the
thinking behind it, the id of a tool call. For every other provider that is left out, and theirs is left out here.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy import (
    File,
    FinishReason,
    Image,
    LLMResponse,
    Message,
    Part,
    Request,
    ResponseWarning,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from understudy.errors import ContentBlocked, EmptyResponse, InvalidRequest, MalformedResponse
from understudy.provider import structured_output
from understudy_gemini_wire.failures import FINISH_REASONS, error_of, failure_of_reply, unreadable
from understudy_gemini_wire.options import FAMILY
from understudy_toolkit.bodies import read_json, text_of
from understudy_toolkit.thinking import check_room
from understudy_toolkit.tool_calls import CallNames

__all__ = [
    "Asked",
    "attachment_of",
    "check_model",
    "checked_call",
    "contents_of",
    "names_in",
    "parse",
    "raw_parts",
    "response_of",
    "tool_config",
]

_ROLES = {"user": "user", "assistant": "model", "tool": "user"}
_MODES = {"auto": {"mode": "AUTO"}, "none": {"mode": "NONE"}, "required": {"mode": "ANY"}}
_MODEL = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.:_@-]*/)*[A-Za-z0-9][A-Za-z0-9._@-]*")


# ---- The request ---------------------------------------------------------------------------------------------------


def check_model(model: str, example: str) -> None:
    """See whether a text can be a model's name: it becomes part of a path.

    Args:
        model: the name, with or without what may stand before it.
        example: a name, for the words of the failure.

    Raises:
        InvalidRequest: it cannot.
    """
    if not _MODEL.fullmatch(model):
        raise InvalidRequest(f"expected a model's name such as {example}, found {model!r}")


def contents_of(
    messages: Sequence[Message],
    write: Callable[[Part], dict[str, Any] | None],
    complete: Callable[[list[dict[str, Any]]], object] | None = None,
) -> list[dict[str, Any]]:
    """Write messages as Gemini's contents.

    Args:
        messages: the conversation.
        write: writes a part that is no result of a tool; None leaves it out.
        complete: changes the parts of an assistant's message, once all are written; None leaves them as they are.
    """
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
            parts = [written for part in message.parts if (written := write(part)) is not None]
        after_tools = message.role == "tool"
        if message.role == "assistant" and complete is not None:
            complete(parts)
        contents.append({"role": _ROLES[message.role], "parts": parts or [{"text": ""}]})
    return contents


def attachment_of(part: Image | File) -> dict[str, Any]:
    """Write an image or a file."""
    if part.data is not None:
        return {"inlineData": {"mimeType": part.media_type, "data": base64.b64encode(part.data).decode()}}
    media_type = part.media_type or mimetypes.guess_type(part.url or "")[0]
    return {"fileData": {"fileUri": part.url, **({"mimeType": media_type} if media_type else {})}}


def tool_config(request: Request) -> dict[str, Any]:
    """Write whether tools may or must be called."""
    mode = _MODES.get(request.tool_choice, {"mode": "ANY", "allowedFunctionNames": [request.tool_choice]})
    return {"functionCallingConfig": dict(mode)}


def _tool_results(message: Message, calls: Mapping[str, ToolCall]) -> list[dict[str, Any]]:
    """Write the results in the order of their calls: where a call has no id, Gemini matches by name and order."""
    order = {call_id: place for place, call_id in enumerate(calls)}
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    return [_tool_result(part, calls) for part in sorted(results, key=lambda part: order.get(part.call_id, len(order)))]


def _tool_result(result: ToolResult, calls: Mapping[str, ToolCall]) -> dict[str, Any]:
    call = calls.get(result.call_id)
    own = call.provider_data.get(FAMILY, {}) if call is not None else {}
    response: dict[str, Any] = {"name": result.name or (call.name if call is not None else result.call_id)}
    if "id" in own:
        response["id"] = own["id"]
    response["response"] = {"error" if result.is_error else "output": result.text}
    if not isinstance(result.content, str):
        attachments = [attachment_of(part) for part in result.content if not isinstance(part, Text)]
        if attachments:
            response["parts"] = attachments
    return {"functionResponse": response}


# ---- The reply -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """How a request was sent.

    Args:
        request: what was asked.
        provider: who was asked.
        model: the model that was asked.
        warnings: what the request was sent without.
        adaptation: how the answer may come after all where thinking used up its tokens; None where nothing helps.
    """

    request: Request
    provider: str
    model: str
    warnings: tuple[ResponseWarning, ...] = ()
    adaptation: str | None = None


def parse(content: bytes) -> Any:
    """Parse the JSON of a chunk.

    Raises:
        MalformedResponse: it is none.
    """
    try:
        return read_json(content)
    except ValueError:
        pass
    raise unreadable(content.decode("utf-8", "replace"), "a reply in JSON")


def response_of(body: Any, headers: Mapping[str, str], asked: Asked, *, given: bool = False) -> LLMResponse:
    """Read a reply.

    Args:
        body: the reply's JSON, parsed.
        headers: its headers.
        asked: how the request was sent.
        given: whether the caller of a stream holds some of it already.

    Raises:
        Failure: the reply is an error, a refusal, empty, cut short by thinking, or not what the API promises.
    """
    if error_of(body) is not None:
        raise failure_of_reply(200, headers, body)
    candidate = _candidate(body)
    parts = tuple(_parts_of(candidate, asked.request))
    reason = _finish_reason(candidate, parts)
    content = "".join(part.text for part in parts if isinstance(part, Text))
    response_id = text_of(body.get("responseId"))
    usage = _usage(_mapping(body.get("usageMetadata")))
    if not content.strip() and not any(isinstance(part, ToolCall | Image | File) for part in parts):
        raise _empty(reason, usage, response_id, asked.adaptation)
    settled = given or asked.adaptation is None
    told = check_room(asked.request, reason, usage, thought=usage.thinking_tokens > 0, given=settled)
    return LLMResponse(
        True,
        content,
        asked.provider,
        metadata=_metadata(body, candidate),
        model=text_of(body.get("modelVersion")) or asked.model,
        finish_reason=reason,
        usage=usage,
        parts=parts,
        structured=structured_output(asked.request, content, reason),
        warnings=asked.warnings + told,
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
        call_id = name(call.get("id"), call["name"])
        return ToolCall(id=call_id, name=call["name"], arguments=call.get("args") or {}, **data)
    if isinstance(part.get("text"), str):
        if part.get("thought"):
            return Thinking(part["text"], provider_data={FAMILY: own})
        return Text(part["text"], **data) if part["text"] or own else None
    if "inlineData" in part and not part.get("thought"):
        return _inline_data(part["inlineData"], data)
    return Text("", provider_data={FAMILY: {"part": dict(part)}}) if part.keys() - {"thought"} else None


def names_in(document: Any) -> tuple[tuple[str, ...], str]:
    """Return the models in a list that can be asked for an answer, and what brings the next page; "" for the last.

    Raises:
        MalformedResponse: it is no list of models.
    """
    listed = next((document[name] for name in ("models", "publisherModels") if name in _mapping(document)), None)
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) and text_of(one.get("name")) for one in listed):
        raise unreadable(json.dumps(document), "a list of models with names")
    asked = [one for one in listed if "generateContent" in one.get("supportedGenerationMethods", ("generateContent",))]
    return tuple(one["name"].rpartition("/")[2] for one in asked), text_of(document.get("nextPageToken")) or ""


def checked_call(call: Any) -> Mapping[str, Any]:
    """Return a tool call as it came.

    Raises:
        MalformedResponse: it has no name, or no arguments.
    """
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
