"""Between our messages and Gemini's JSON: messages to contents, and a reply to an LLMResponse. No SDK, no I/O.

A part that came from Gemini carries in `provider_data["gemini"]` what Gemini wants back with it: the signature of the
thinking behind it, the id of a tool call. For every other provider that is left out, and theirs is left out here.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from understudy import (
    Failure,
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
from understudy.errors import EmptyResponse, InvalidRequest
from understudy.provider import structured_output
from understudy_gemini_wire.endings import block_of, ending_of
from understudy_gemini_wire.failures import error_of, failure_of_reply, unreadable
from understudy_gemini_wire.options import FAMILY
from understudy_toolkit.bodies import decode_base64, kind_of_image, read_json, text_of
from understudy_toolkit.pairing import plain_name
from understudy_toolkit.thinking import check_room
from understudy_toolkit.tool_calls import CallNames, checked_arguments, new_seed

__all__ = [
    "NOT_IN_A_NAME",
    "Asked",
    "attachment_of",
    "candidate_of",
    "check_model",
    "checked_call",
    "contents_of",
    "ends_with_words",
    "names_in",
    "raw_parts",
    "response_of",
    "tool_config",
    "usage_of",
]

_ROLES = {"user": "user", "assistant": "model", "tool": "user"}
_MODES = {"auto": {"mode": "AUTO"}, "none": {"mode": "NONE"}, "required": {"mode": "ANY"}}
# "Unable to submit request because it has an empty text parameter.": google-gemini/deprecated-generative-ai-python#697,
# QuantumNous/new-api#1260, read 2026-12-01. An empty text that is signed goes back, with its signature.
_EMPTY = {"text": ""}
# What the name of a tool cannot hold: kaitranntt/ccs#25, read 2026-12-01.
NOT_IN_A_NAME = r"[^A-Za-z0-9_.:-]"
_MODEL = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.:_@-]*/)*[A-Za-z0-9][A-Za-z0-9._@-]*")


# ---- The request ---------------------------------------------------------------------------------------------------


def check_model(model: str, example: str) -> None:
    """Check whether a string can be a model's name: it becomes part of a path.

    Args:
        model: the name, with or without what may stand before it.
        example: a name, for the words of the failure.

    Raises:
        InvalidRequest: it cannot.
    """
    if not _MODEL.fullmatch(model):
        raise InvalidRequest(f"expected a model's name such as {example}, found {model!r}")


def ends_with_words(messages: Sequence[Message]) -> bool:
    """Return whether a conversation ends with the assistant's own words, rather than with calls of tools."""
    last = messages[-1]
    return last.role == "assistant" and not any(isinstance(part, ToolCall) for part in last.parts)


def contents_of(
    messages: Sequence[Message],
    write: Callable[[Part], dict[str, Any] | None],
    complete: Callable[[list[dict[str, Any]]], object] | None = None,
) -> list[dict[str, Any]]:
    """Write messages as Gemini's contents.

    Args:
        messages: the conversation.
        write: writes a part that is not a result of a tool; None leaves it out.
        complete: changes the parts of an assistant's message, once all are written; None leaves them as they are.
    """
    contents: list[dict[str, Any]] = []
    waiting: dict[str, list[_Place]] = {}
    for message in messages:
        if message.role == "tool":
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            told = [part for result in results if not _answer(result, waiting) for part in _tell(result)]
            contents += [{"role": "user", "parts": told}] if told else []
            continue
        parts = [written for part in message.parts if (written := write(part)) is not None and written != _EMPTY]
        if message.role == "assistant" and complete is not None:
            complete(parts)
        if parts:
            contents.append({"role": _ROLES[message.role], "parts": parts})
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        if calls:
            answers = [_tool_result(call, None) for call in calls]
            contents.append({"role": "user", "parts": answers})
            waiting |= {call.id: [] for call in calls}
            for number, call in enumerate(calls):
                waiting[call.id].append(_Place(call, answers, number))
    return contents or [{"role": "user", "parts": [dict(_EMPTY)]}]


class _Place(NamedTuple):
    """Where the result of a call goes: Gemini wants one for each call, in the order of the calls, right after them."""

    call: ToolCall
    answers: list[dict[str, Any]]
    number: int


def _answer(result: ToolResult, waiting: Mapping[str, list[_Place]]) -> bool:
    """Put a result where its call waits for one; return whether it does."""
    places = waiting.get(result.call_id)
    if not places:
        return False
    call, answers, number = places.pop(0)
    answers[number] = _tool_result(call, result)
    return True


def _tell(result: ToolResult) -> list[dict[str, Any]]:
    """Write a result whose call is not in the conversation, or has one, as words: Gemini refuses it as a result."""
    outcome = "failed" if result.is_error else "returned"
    told: list[dict[str, Any]] = [{"text": f"The tool {result.name or result.call_id} {outcome}: {result.text}"}]
    return told + _attachments_of(result)


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


def _tool_result(call: ToolCall, result: ToolResult | None) -> dict[str, Any]:
    """Write what a call returned; None for one of which nothing is known."""
    own = call.provider_data.get(FAMILY, {})
    response: dict[str, Any] = {
        "name": plain_name(call.name, NOT_IN_A_NAME),
        **({"id": own["id"]} if "id" in own else {}),
    }
    if result is None:
        return {"functionResponse": {**response, "response": {"error": "The tool returned no result."}}}
    response["response"] = {"error" if result.is_error else "output": result.text}
    if attachments := _attachments_of(result):
        response["parts"] = attachments
    return {"functionResponse": response}


def _attachments_of(result: ToolResult) -> list[dict[str, Any]]:
    content = () if isinstance(result.content, str) else result.content
    return [attachment_of(part) for part in content if not isinstance(part, Text)]


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
        mend: adds to a refusal how the request can be changed.
    """

    request: Request
    provider: str
    model: str
    warnings: tuple[ResponseWarning, ...] = ()
    adaptation: str | None = None
    mend: Callable[[Failure], Failure] = lambda failure: failure


def response_of(
    body: Any,
    headers: Mapping[str, str],
    asked: Asked,
    *,
    given: bool = False,
    name: CallNames | None = None,
    doubts: tuple[ResponseWarning, ...] = (),
) -> LLMResponse:
    """Read a reply.

    Args:
        body: the reply's JSON, parsed.
        headers: its headers.
        asked: how the request was sent.
        given: whether the caller of a stream already has some of it.
        name: gives ids to the tool calls.
        doubts: warnings about how it came.

    Raises:
        Failure: the reply is an error, a refusal, empty, cut short by thinking, or not what the API promises.
    """
    candidate = _candidate(body, headers, asked)
    parts = tuple(_parts_of(candidate, name or CallNames(asked.request, new_seed())))
    response_id = text_of(body.get("responseId"))
    reason, unsaid = _finish_reason(candidate, parts, response_id, asked)
    content = "".join(part.text for part in parts if isinstance(part, Text))
    usage = usage_of(body)
    if not content.strip() and not any(isinstance(part, ToolCall | Image | File) for part in parts):
        raise _empty(reason, usage, response_id, asked.adaptation)
    settled = given or asked.adaptation is None
    thought = usage is not None and usage.thinking_tokens > 0
    told = check_room(asked.request, reason, usage, thought=thought, given=settled)
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
        warnings=(*asked.warnings, *unsaid, *doubts, *told),
        request_id=response_id,
    )


def _empty(reason: FinishReason, usage: Usage | None, response_id: str | None, adaptation: str | None) -> EmptyResponse:
    """Return the failure of an answer without anything in it, and what may help where its tokens were used up."""
    words = "expected text or a tool call, found none"
    if reason is not FinishReason.LENGTH:
        return EmptyResponse(words, status=200, request_id=response_id)
    thought = usage.thinking_tokens if usage is not None else 0
    by = f", by {thought} tokens of thinking" if thought else ""
    return EmptyResponse(
        f"{words}: max_tokens was used up before it{by}",
        status=200,
        request_id=response_id,
        adaptation=adaptation,
        usage=usage if usage is not None and usage.output_tokens else None,
    )


def _candidate(body: Any, headers: Mapping[str, str], asked: Asked) -> Mapping[str, Any]:
    if error_of(body) is not None:
        raise asked.mend(failure_of_reply(200, headers, body))
    if not isinstance(body, Mapping):
        raise unreadable(body, "a JSON object")
    response_id = text_of(body.get("responseId"))
    feedback = _mapping(body.get("promptFeedback"))
    blocked = block_of(feedback.get("blockReason"))
    if blocked is not None:
        message = text_of(feedback.get("blockReasonMessage")) or "the prompt was blocked"
        raise blocked(message, status=200, code=str(feedback["blockReason"]), request_id=response_id)
    candidate = candidate_of(body)
    if candidate is not None:
        return candidate
    if "usageMetadata" in body or "promptFeedback" in body:
        raise EmptyResponse("expected a candidate, found none", status=200, request_id=response_id)
    raise unreadable(body, "a reply with candidates")


def candidate_of(body: Mapping[str, Any], index: Any = None) -> Mapping[str, Any] | None:
    """Return the candidate of a reply, or of a piece of one, that is the answer; None where it is not there.

    Args:
        body: the reply's JSON.
        index: the candidate that pieces before were of; None for the first. Where several are asked for, each piece of
            a stream is of one of them.
    """
    candidates = body.get("candidates")
    found = [one for one in candidates if isinstance(one, Mapping)] if isinstance(candidates, list) else []
    if index is not None:
        found = [one for one in found if _index(one) == index]
    return min(found, key=_index, default=None)


def _index(candidate: Mapping[str, Any]) -> int:
    index = candidate.get("index")
    return index if isinstance(index, int) else 0


def _parts_of(candidate: Mapping[str, Any], name: CallNames) -> Iterator[Part]:
    for part in raw_parts(candidate):
        read = _part_of(part, name)
        if read is not None:
            yield read


def raw_parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of a candidate as they came.

    Raises:
        MalformedResponse: one of them is not a JSON object.
    """
    parts = _mapping(candidate.get("content")).get("parts") or []
    if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
        raise unreadable(parts, "a list of parts")
    return parts


def _part_of(part: Mapping[str, Any], name: CallNames) -> Part | None:
    part = {key: value for key, value in part.items() if value is not None}
    own = {key: part[key] for key in ("thoughtSignature",) if key in part}
    data: dict[str, Any] = {"provider_data": {FAMILY: own}} if own else {}
    if "functionCall" in part:
        call = checked_call(part["functionCall"])
        if call.get("id"):
            data = {"provider_data": {FAMILY: {**own, "id": call["id"]}}}
        return ToolCall(id=name(call.get("id")), name=call["name"], arguments=call["args"], **data)
    if isinstance(part.get("text"), str):
        if part.get("thought"):
            return Thinking(part["text"], provider_data={FAMILY: own})
        return Text(part["text"], **data) if part["text"] or own else None
    if "inlineData" in part and not part.get("thought"):
        return _inline_data(part["inlineData"], data)
    if text_of(_mapping(part.get("fileData")).get("fileUri")):
        file = part["fileData"]
        media_type = text_of(file.get("mimeType"))
        kind = Image if (media_type or "").startswith("image/") else File
        return kind(url=file["fileUri"], media_type=media_type, **data)
    return Text("", provider_data={FAMILY: {"part": part}}) if part.keys() - {"thought"} else None


def names_in(document: Any) -> tuple[tuple[str, ...], str]:
    """Return the models in a list that can be asked for an answer, and what brings the next page; "" for the last.

    Raises:
        MalformedResponse: it is not a list of models.
    """
    listed = next((document[name] for name in ("models", "publisherModels") if name in _mapping(document)), None)
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) and text_of(one.get("name")) for one in listed):
        raise unreadable(document, "a list of models with names")
    asked = [one for one in listed if "generateContent" in one.get("supportedGenerationMethods", ("generateContent",))]
    return tuple(one["name"].rpartition("/")[2] for one in asked), text_of(document.get("nextPageToken")) or ""


def checked_call(call: Any) -> Mapping[str, Any]:
    """Return a tool call with its arguments as an object: none and an empty text count as no arguments.

    Raises:
        MalformedResponse: it has no name, or its arguments are none.
    """
    if isinstance(call, Mapping) and text_of(call.get("name")):
        arguments = call.get("args") or {}
        with suppress(ValueError):
            if isinstance(arguments, str):  # relays write them so
                arguments = read_json(arguments, strict=True)
            if isinstance(arguments, Mapping):
                return {"id": call.get("id"), "name": call["name"], "args": checked_arguments(arguments)}
    raise unreadable(call, "a tool call with a name and arguments")


def _inline_data(blob: Any, data: Mapping[str, Any]) -> Image | File:
    try:
        content = decode_base64(blob["data"])
        media_type = text_of(blob.get("mimeType")) or kind_of_image(content)
        kind = Image if media_type.startswith("image/") else File
        return kind(data=content, media_type=media_type, **data)
    except (AttributeError, TypeError, KeyError, ValueError):
        raise unreadable(blob, "data in base64") from None


def _finish_reason(
    candidate: Mapping[str, Any], parts: tuple[Part, ...], response_id: str | None, asked: Asked
) -> tuple[FinishReason, tuple[ResponseWarning, ...]]:
    told = text_of(candidate.get("finishReason"))
    if told is None:  # of a stream it would be the sign that it broke off; a whole reply is whole without it
        unsaid = ResponseWarning("finish_reason", "Gemini did not say why the model stopped")
        return FinishReason.UNKNOWN, (unsaid,)
    reason = ending_of(told)
    if not isinstance(reason, FinishReason):
        message = text_of(candidate.get("finishMessage")) or f"the model stopped for {told}"
        words = "thought_signature: " if told == "MISSING_THOUGHT_SIGNATURE" else ""
        raise asked.mend(reason(words + message, status=200, code=told, request_id=response_id))
    called = any(isinstance(part, ToolCall) for part in parts)
    return FinishReason.TOOL_CALLS if called and reason is FinishReason.STOP else reason, ()


def usage_of(body: Mapping[str, Any]) -> Usage | None:
    """Return the tokens of a reply, as far as they are told: None where those read, or those written, are not.

    The total decides whether the tokens of thoughts and of tools' results stand beside the others or among them: with
    google-genai 3.6.1 they stand beside them (types.GenerateContentResponseUsageMetadata), some relays add them up.
    """
    usage = _mapping(body.get("usageMetadata"))

    def count(name: str) -> int | None:
        value = usage.get(f"{name}TokenCount")
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    prompt, written, total = count("prompt"), count("candidates"), count("total")
    thoughts, tools = count("thoughts") or 0, count("toolUsePrompt") or 0
    if prompt is None and total is not None and written is not None:
        prompt = max(total - written - thoughts - tools, 0)
    if prompt is None or (written is None and total is None and not thoughts):
        return None
    among_written = among_prompt = False
    if written is None:
        written = max(total - prompt - tools - thoughts, 0) if total is not None else 0
    elif total is not None and total < prompt + tools + written + thoughts:
        among_written = thoughts > 0 and total in (prompt + written, prompt + tools + written)
        among_prompt = tools > 0 and total in (prompt + written, prompt + written + thoughts)
    return Usage(
        input_tokens=prompt + (0 if among_prompt else tools),
        output_tokens=written + (0 if among_written else thoughts),
        thinking_tokens=thoughts,
        cache_read_tokens=count("cachedContent") or 0,
    )


def _metadata(body: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: body[name] for name in ("modelVersion", "responseId") if name in body}
    kept = ("finishReason", "finishMessage", "citationMetadata", "groundingMetadata", "safetyRatings")
    return told | {name: candidate[name] for name in kept if name in candidate}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
