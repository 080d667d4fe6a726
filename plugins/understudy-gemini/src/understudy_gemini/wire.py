"""Between our messages and Gemini's JSON: a Request out, an LLMResponse in. No SDK, no I/O. Streams: streaming.py.

A part that came from Gemini carries in `provider_data["gemini"]` what Gemini wants back with it: the signature of the
thinking behind it, the id of a tool call. For every other provider that is left out, and theirs is left out here.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from understudy import (
    ContentBlocked,
    EmptyResponse,
    Failure,
    File,
    FinishReason,
    Image,
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
from understudy_gemini import models
from understudy_gemini.failures import WITHOUT_SIGNATURES, error_of, failure_of_reply, text_of, unreadable
from understudy_gemini.options import FAMILY, add_options, plain
from understudy_gemini.thinking import Plan, plan_thinking
from understudy_toolkit.thinking import check_room

_ROLES = {"user": "user", "assistant": "model", "tool": "user"}
_MODES = {"auto": {"mode": "AUTO"}, "none": {"mode": "NONE"}, "required": {"mode": "ANY"}}

# Stands for the signature of a tool call that Gemini did not make (https://ai.google.dev/gemini-api/docs/thought-signatures).
_UNSIGNED = "skip_thought_signature_validator"

# finishReason (google-genai 3.4.0, types.FinishReason): how the answer ended, or the failure that it is. A reason that
# is not here is new, and told as unknown.
_OF_REASON: Mapping[str, FinishReason | type[Failure]] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,
    "BLOCKLIST": ContentBlocked,
    "ESCALATION": ContentBlocked,
    "IMAGE_PROHIBITED_CONTENT": ContentBlocked,
    "IMAGE_RECITATION": ContentBlocked,
    "IMAGE_SAFETY": ContentBlocked,
    "LANGUAGE": ContentBlocked,
    "MODEL_ARMOR": ContentBlocked,
    "PROHIBITED_CONTENT": ContentBlocked,
    "PUP_LIMITED_DISABLED": ContentBlocked,
    "RECITATION": ContentBlocked,
    "SAFETY": ContentBlocked,
    "SPII": ContentBlocked,
    "IMAGE_OTHER": MalformedResponse,
    "MALFORMED_FUNCTION_CALL": MalformedResponse,
    "MALFORMED_RESPONSE": MalformedResponse,
    "MISSING_THOUGHT_SIGNATURE": MalformedResponse,
    "NO_IMAGE": MalformedResponse,
    "OTHER": MalformedResponse,
    "TOO_MANY_TOOL_CALLS": MalformedResponse,
    "UNEXPECTED_TOOL_CALL": MalformedResponse,
}


# ---- The request ---------------------------------------------------------------------------------------------------


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
        UnsupportedRequest: the conversation ends with the model's own words, and the model does not go on from there.
    """
    answering = models.answering_model(model, today, provider)
    if request.messages[-1].role == "assistant" and models.takes_prefill(answering) is False:
        raise UnsupportedRequest(f"{model} does not go on from a conversation that ends with the assistant's words")
    warnings = list(models.ending_warnings(model, today, provider))
    unsigned = request.adaptation == WITHOUT_SIGNATURES
    signs = models.wants_signed_calls(answering) or unsigned
    body: dict[str, Any] = {"contents": _contents(request.messages, signs=signs, unsigned=unsigned)}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        body |= _tools(request)
    config = _generation_config(request, plan_thinking(request, model, provider, today))
    if "temperature" in config and not models.takes_sampling(answering):
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


def _contents(messages: Sequence[Message], *, signs: bool, unsigned: bool) -> list[dict[str, Any]]:
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
            parts = [written for part in message.parts if (written := _part(part, unsigned)) is not None]
        after_tools = message.role == "tool"
        if message.role == "assistant" and signs:
            _sign_first_call(parts)
        contents.append({"role": _ROLES[message.role], "parts": parts or [{"text": ""}]})
    return contents


def _part(part: Part, unsigned: bool) -> dict[str, Any] | None:
    own = part.provider_data.get(FAMILY, {})
    if "part" in own:  # of a kind that only Gemini has
        return dict(plain(own["part"]))
    signed = "thoughtSignature" in own and not unsigned
    signature = {"thoughtSignature": own["thoughtSignature"]} if signed else {}
    if isinstance(part, Text):
        return {"text": part.text, **signature}
    if isinstance(part, Image | File):
        return {**_attachment(part), **signature}
    if isinstance(part, ToolCall):
        identity = {"id": own["id"]} if "id" in own else {}
        return {"functionCall": {**identity, "name": part.name, "args": plain(part.arguments)}, **signature}
    if isinstance(part, Thinking) and signature:
        return {"text": part.text, "thought": True, **signature}
    return None  # thinking of another vendor, or without a signature, which Gemini makes nothing of


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
    call = calls.get(result.call_id)
    own = call.provider_data.get(FAMILY, {}) if call is not None else {}
    response: dict[str, Any] = {"name": result.name or (call.name if call is not None else result.call_id)}
    if "id" in own:
        response["id"] = own["id"]
    response["response"] = {"error" if result.is_error else "output": result.text}
    if not isinstance(result.content, str):
        attachments = [_attachment(part) for part in result.content if not isinstance(part, Text)]
        if attachments:
            response["parts"] = attachments
    return {"functionResponse": response}


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
    mode = _MODES.get(request.tool_choice, {"mode": "ANY", "allowedFunctionNames": [request.tool_choice]})
    return {"tools": [{"functionDeclarations": declarations}], "toolConfig": {"functionCallingConfig": dict(mode)}}


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
    provider: str = FAMILY,
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
    reason = _OF_REASON.get(told, FinishReason.UNKNOWN)
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
