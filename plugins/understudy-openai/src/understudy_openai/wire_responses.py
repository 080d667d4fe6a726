"""Only translation: a Request into the Responses API's JSON, its replies back.

No SDK is imported and nothing is sent or read here. The order is that of wire.py, which is Chat Completions.

Nothing is stored at OpenAI: what a model's reasoning and OpenAI's own tools leave for the next turn comes with the
reply, encrypted, and travels in the message's parts, as `provider_data[name]["item"]`, with the account that it is
encrypted for beside it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
)
from understudy.errors import ContentBlocked, ServerError
from understudy_openai.adapting import adapt, adaptations_of
from understudy_openai.failures import WITHOUT_REASONING, failure_of_reply
from understudy_openai.models import LEAST_TOKENS, Endpoint, ending_warnings, reasons
from understudy_openai.reasoning import leave_out_refused, level_of, limit_of, set_effort
from understudy_openai.shared import (
    AROUND,
    Json,
    Warnings,
    answer,
    attachment_warnings,
    data_url,
    describe_schema,
    describe_tool,
    identifier,
    nothing_to_send,
    options_of,
    own_data,
    read_arguments,
    reading,
    result_text,
    text_of_file,
)
from understudy_openai.usage import count_tokens
from understudy_toolkit.tool_calls import CallNames

_FINISH_REASONS: Mapping[str, FinishReason] = {
    "completed": FinishReason.STOP,
    "max_output_tokens": FinishReason.LENGTH,
    "max_messages": FinishReason.LENGTH,
    "content_filter": FinishReason.BLOCKED,
    "steered": FinishReason.PAUSED,
    "in_progress": FinishReason.PAUSED,
    "queued": FinishReason.PAUSED,
}
# Chat Completions' names in the options, so that they may be given without knowing which API a model needs.
_OPTION_NAMES: Mapping[str, str] = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
_OPTION_PLACES: Mapping[str, tuple[str, str]] = {
    "effort": ("reasoning", "effort"),
    "reasoning_effort": ("reasoning", "effort"),
    "verbosity": ("text", "verbosity"),
}
TEXTS = ("output_text", "text")  # what a message's text is called: by OpenAI, and by servers that forget it
_ENCRYPTED = "reasoning.encrypted_content"
_FOREIGN = "reasoning from another account was left out: it is encrypted for the account that it came from"
_REFUSED = "reasoning from earlier answers was left out: the server could not use it"


# ---- the request ----


def request_body(request: Request, model: str, endpoint: Endpoint, *, stream: bool = False) -> tuple[Json, Warnings]:
    """Return a request in the form of the Responses API, and what was left out of it.

    Args:
        request: what to ask.
        model: the model to ask.
        endpoint: who is asked.
        stream: whether the answer shall come piece by piece.

    Raises:
        InvalidRequest: nothing is left to send, or the options cannot be merged.
    """
    options = options_of(request, endpoint)
    items, lost = _items(request, endpoint, is_stored=bool(options.get("store")))
    if not items:
        raise nothing_to_send(endpoint)
    body: Json = {"model": model, "input": items, "store": False}
    if reasons(model) and level_of(request, model, options) != "none":
        body["include"] = [_ENCRYPTED]  # refused by models that do not reason
    if request.system and request.system.strip():
        body["instructions"] = request.system
    limit, lowered = limit_of(request, model, options)
    if limit is not None:
        body["max_output_tokens"] = max(limit, LEAST_TOKENS)
        if limit < LEAST_TOKENS:
            raised = f"max_tokens {limit} became {LEAST_TOKENS}, the least that the Responses API takes"
            lowered += (ResponseWarning("max_tokens", raised),)
    if request.tools:
        # strict is the default here, and would make every optional parameter a required one
        body["tools"] = [{"type": "function", "strict": False, **describe_tool(tool)} for tool in request.tools]
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.output_schema is not None:
        body["text"] = {"format": {"type": "json_schema", **describe_schema(request.output_schema)}}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if stream:
        body["stream"] = True
    _merge(body, options)
    changed = lost + lowered + set_effort(body, request, model, options, in_chat=False)
    changed += leave_out_refused(body, model) + ending_warnings(model, endpoint)
    return body, changed + adapt(body, adaptations_of(request, model, endpoint), request, options)


def _items(request: Request, endpoint: Endpoint, *, is_stored: bool) -> tuple[list[Json], Warnings]:
    items: list[Json] = []
    lost: list[ResponseWarning] = []
    for message in request.messages:
        if message.role == "assistant":
            came, why = _items_kept(message, request, endpoint, is_stored)
            items += _assistant_items(message, came, endpoint)
            lost += attachment_warnings(part for part, own in zip(message.parts, came, strict=True) if not own)
            lost += (ResponseWarning("messages", told) for told in why)
        elif message.role == "tool":
            items += (_result_item(part, endpoint) for part in message.parts if isinstance(part, ToolResult))
        else:
            content = [piece for part in message.parts if (piece := _piece(part, endpoint)) is not None]
            if content:
                items.append({"role": "user", "content": content})
    return items, tuple(dict.fromkeys(lost))


def _items_kept(
    message: Message, request: Request, endpoint: Endpoint, is_stored: bool
) -> tuple[list[Json], tuple[str, ...]]:
    """Return the item that each part of an answer came in; none of them where its reasoning cannot be told again.

    Reasoning is encrypted for one account. Without it the API knows none of the answer's items any more.

    Returns:
        The items, and why they were left out, where that is worth a warning.
    """
    data = [part.provider_data.get(endpoint.name, {}) for part in message.parts]
    came = [dict(own.get("item", {})) for own in data]
    reasoning = [(own, item) for own, item in zip(data, came, strict=True) if item.get("type") == "reasoning"]
    nothing: list[Json] = [{} for _ in came]
    if reasoning and request.adaptation == WITHOUT_REASONING:
        return nothing, (_REFUSED,)
    if any(own.get("account", endpoint.account) != endpoint.account for own, _ in reasoning):
        return nothing, (_FOREIGN,)
    if not is_stored and any(not item.get("encrypted_content") for _, item in reasoning):
        return nothing, ()
    return came, ()


def _assistant_items(message: Message, came: Sequence[Json], endpoint: Endpoint) -> list[Json]:
    """Turn an answer back into the items that it came in; neighbouring texts of one message into that message."""
    items: list[Json] = []
    for part, own in zip(message.parts, came, strict=True):
        if isinstance(part, Thinking):
            if own:
                items.append(own)
        elif isinstance(part, ToolCall):
            call = {"type": "function_call", "call_id": identifier(part.id, endpoint), "name": part.name}
            items.append({**own, **call, "arguments": json.dumps(dict(part.arguments))})
        elif isinstance(part, Image) and own:
            items.append({**own, "result": base64.b64encode(part.data or b"").decode("ascii")})
        elif isinstance(part, Text) and part.text.strip():
            said = {"type": "output_text", "annotations": [], "text": part.text, **own_data(part, endpoint)}
            if own and items and items[-1].get("id") == own.get("id"):
                items[-1]["content"].append(said)
            else:
                items.append({**own, "type": "message", "role": "assistant", "content": [said]})
    return items


def _result_item(result: ToolResult, endpoint: Endpoint) -> Json:
    item: Json = {"type": "function_call_output", "call_id": identifier(result.call_id, endpoint)}
    others = [] if isinstance(result.content, str) else [p for p in result.content if not isinstance(p, Text)]
    if not others:
        return {**item, "output": result_text(result)}
    pieces = [_piece(part, endpoint) for part in (Text(result_text(result)), *others)]
    return {**item, "output": [piece for piece in pieces if piece is not None]}


def _piece(part: Part, endpoint: Endpoint) -> Json | None:
    own = own_data(part, endpoint)
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text, **own} if part.text.strip() else None
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": part.url or data_url(part), "detail": "auto", **own}
    assert isinstance(part, File)  # Message allows nothing else in the user's role
    if (text := text_of_file(part)) is not None:
        return {"type": "input_text", "text": text, **own}
    if part.data is None:
        return {"type": "input_file", "file_url": part.url, **own}
    return {"type": "input_file", "filename": part.name or "file", "file_data": data_url(part), **own}


def _tool_choice(choice: str) -> str | Json:
    return choice if choice in ("auto", "none", "required") else {"type": "function", "name": choice}


def _merge(body: Json, options: Mapping[str, Any]) -> None:
    """Lay the options over the body.

    Lists of `tools` and `include`, and what `reasoning` and `text` hold, are joined with what is there; None takes a
    field out.
    """
    for option, value in options.items():
        name = _OPTION_NAMES.get(option, option)
        if name in _OPTION_PLACES:
            name, inner = _OPTION_PLACES[name]
            value = {inner: value}
        if name == "extra_body" and isinstance(value, Mapping):
            _merge(body, value)
        elif value is None:
            body.pop(name, None)
        elif name in ("tools", "include") and isinstance(value, Sequence):
            body[name] = [*body.get(name, ()), *(one for one in value if one not in body.get(name, ()))]
        elif name in ("reasoning", "text") and isinstance(value, Mapping):
            body[name] = {**body.get(name, {}), **value}
        elif name not in (*AROUND, "stream_options"):
            body[name] = value


# ---- the reply ----


def response_of(
    body: Any,
    headers: Mapping[str, str],
    request: Request,
    endpoint: Endpoint,
    warnings: Sequence[ResponseWarning] = (),
    *,
    given: bool = False,
) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in any case.
        request: what was asked, and of which model.
        endpoint: who was asked.
        warnings: what the request was sent without.
        given: whether the caller of a stream already has some of it.

    Raises:
        ContentBlocked: the model refused, or a filter stopped it.
        EmptyResponse: neither text nor a tool call came.
        AnswerCutShort: reasoning used up the limit before the text was complete.
        MalformedResponse: it is not a response as the API promises.
        Failure: the response says that it failed, and why.
    """
    with reading(body, "status" if isinstance(body, Mapping) and body.get("status") else "output", headers, endpoint):
        status = body.get("status") or "completed"
        if status in ("failed", "cancelled"):
            raise _failed(status, body.get("error"), headers, endpoint)
        reason = str((body.get("incomplete_details") or {}).get("reason")) if status == "incomplete" else str(status)
        finish_reason = _FINISH_REASONS.get(reason, FinishReason.UNKNOWN)
        if finish_reason is FinishReason.BLOCKED:
            raise ContentBlocked("a content filter stopped the answer", code="content_filter")
        parts, cut = _parts(body["output"], request, finish_reason, endpoint)
        told = {name: body.get(name) for name in ("id", "status", "service_tier")}
        return answer(
            body,
            parts,
            finish_reason,
            request,
            endpoint,
            headers=headers,
            metadata={**told, "reason": reason if status == "incomplete" else None},
            usage=count_tokens(body.get("usage"), "input", "output"),
            warnings=(*warnings, *cut),
            given=given,
        )


def _failed(status: str, error: Any, headers: Mapping[str, str], endpoint: Endpoint) -> Failure:
    if not isinstance(error, Mapping):
        return ServerError(f"the response is {status}, and no reason was given", status=200, code=status)
    return failure_of_reply(endpoint.name, 200, headers, {"error": error})


def _parts(
    items: Sequence[Mapping[str, Any]], request: Request, finish_reason: FinishReason, endpoint: Endpoint
) -> tuple[list[Part], Warnings]:
    parts: list[Part] = []
    cut: list[ResponseWarning] = []
    names = CallNames(request)
    for item in items:
        kind = item.get("type")
        if kind == "message":
            parts += _said(item, endpoint)
        elif kind == "function_call":
            arguments = read_arguments(item["name"], item.get("arguments"), finish_reason)
            if isinstance(arguments, ResponseWarning):
                cut.append(arguments)
                continue
            kept = {name: value for name, value in item.items() if name not in ("call_id", "name", "arguments")}
            data = {endpoint.name: {"item": kept}}
            call_id = names(item.get("call_id"), item["name"])
            parts.append(ToolCall(id=call_id, name=item["name"], arguments=arguments, provider_data=data))
        elif kind == "image_generation_call" and isinstance(item.get("result"), str):
            parts.append(_picture(item, endpoint))
        else:  # reasoning, and what OpenAI's own tools did: carried along, the next turn goes on from it
            bound = {"account": endpoint.account} if endpoint.account and item.get("encrypted_content") else {}
            parts.append(Thinking(_thought(item), {endpoint.name: {"item": dict(item), **bound}}))
    return parts, tuple(cut)


def _said(item: Mapping[str, Any], endpoint: Endpoint) -> Iterator[Text]:
    kept = {name: value for name, value in item.items() if name != "content"}
    content = item.get("content") or ()
    for piece in [{"type": "output_text", "text": content}] if isinstance(content, str) else content:
        if piece.get("type") == "refusal":
            raise ContentBlocked(f"the model refused: {piece.get('refusal')}", code="refusal")
        if piece.get("type") in TEXTS and piece["text"]:
            cited = {"annotations": piece["annotations"]} if piece.get("annotations") else {}
            yield Text(piece["text"], {endpoint.name: {"item": kept, **cited}})


def _picture(item: Mapping[str, Any], endpoint: Endpoint) -> Image:
    """Return a picture that OpenAI's own tool has drawn; its item goes back with the next turn, the bytes in it."""
    kept = {name: value for name, value in item.items() if name != "result"}
    form = item.get("output_format")
    kind = f"image/{form}" if isinstance(form, str) and form else "image/png"
    return Image(data=base64.b64decode(item["result"]), media_type=kind, provider_data={endpoint.name: {"item": kept}})


def _thought(item: Mapping[str, Any]) -> str:
    if item.get("type") != "reasoning":
        return ""
    pieces = item.get("summary") or item.get("content") or ()
    return "\n\n".join(piece["text"] for piece in pieces if isinstance(piece.get("text"), str))
