"""Translation, and nothing else: a Request into the Messages API's JSON, its replies and events back.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from understudy import (
    ContentBlocked,
    EmptyResponse,
    Failure,
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
    Tool,
    ToolCall,
    ToolResult,
    UnsupportedRequest,
    Usage,
    structured_output,
)
from understudy_claude.failures import PROVIDER
from understudy_claude.models import DEFAULT_MAX_TOKENS, ending_warnings, leave_out_refused, takes_prefill, thinks

Json = dict[str, Any]
Warnings = tuple[ResponseWarning, ...]

_TOOL_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any"}
_FINISH_REASONS: Mapping[str, FinishReason] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "pause_turn": FinishReason.PAUSED,
    "refusal": FinishReason.BLOCKED,
}
_OPEN = ("text", "thinking", "redacted_thinking")  # the blocks of a message that is only begun
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]")  # other vendors' ids of tool calls may hold what this API refuses
# What a reply, or a piece of one, raises here when it has not the shape that the API promises.
WRONG_SHAPE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


# ---- the request ----


def request_body(request: Request, model: str) -> tuple[Json, Warnings]:
    """Return a request as the API wants it, and what was left out of it.

    Args:
        request: what to ask.
        model: the model to ask.

    Raises:
        InvalidRequest: nothing is left to send, or options["claude"] cannot be merged.
        UnsupportedRequest: the model does not go on from the assistant's message at the end.
    """
    options = _options(request)
    messages, lost = _messages(request.messages)
    if not messages:
        raise InvalidRequest("expected a message with some content, found only empty texts", provider=PROVIDER)
    body: Json = {
        "model": model,
        "max_tokens": request.max_tokens or _default_max_tokens(options),
        "messages": messages,
    }
    if request.system and request.system.strip():
        body["system"] = request.system
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.output_schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": dict(request.output_schema)}}
    if stop := [text for text in request.stop if text.strip()]:
        body["stop_sequences"] = stop
    if request.temperature is not None:
        body["temperature"] = request.temperature
    _merge(body, options)
    if messages[-1]["role"] == "assistant":
        _end_prefill(messages[-1]["content"], body, model)
    if len(stop) < len(request.stop):
        lost += (ResponseWarning("stop", "stop texts of nothing but white space were left out: Claude takes none"),)
    return body, lost + leave_out_refused(body, model) + ending_warnings(model)


def _options(request: Request) -> Mapping[str, Any]:
    options = request.options.get(PROVIDER, {})
    if not isinstance(options, Mapping):
        raise InvalidRequest(
            f"expected options['claude'] as a mapping such as {{'top_k': 5}}, found {type(options).__name__}",
            provider=PROVIDER,
        )
    if "stream" in options:
        raise InvalidRequest(
            "expected options['claude'] without 'stream': call stream() or astream() instead", provider=PROVIDER
        )
    return options


def _default_max_tokens(options: Mapping[str, Any]) -> int:
    thinking = options.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    return DEFAULT_MAX_TOKENS + (budget if isinstance(budget, int) else 0)  # the API counts thinking within the limit


def _messages(messages: Iterable[Message]) -> tuple[list[Json], Warnings]:
    """Turn messages into turns of user and assistant, neighbours of one role joined, tool results first."""
    turns: list[Json] = []
    warnings: list[ResponseWarning] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        parts = message.parts
        if role == "assistant" and any(isinstance(part, Image | File) for part in parts):
            parts = tuple(part for part in parts if not isinstance(part, Image | File))
            lost = "images and files in an assistant's message were left out: Claude takes them from the user only"
            warnings.append(ResponseWarning("messages", lost))
        blocks = [block for part in parts if (block := _block(part)) is not None]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable: the rest keeps its order
    return turns, tuple(warnings)


def _block(part: Part) -> Json | None:
    block = _BLOCKS[type(part)](part)
    own = part.provider_data.get(PROVIDER)
    if block is None or not own or isinstance(part, Thinking):
        return block
    return {**block, **own}


def _text_block(part: Text) -> Json | None:
    return {"type": "text", "text": part.text} if part.text.strip() else None  # the API refuses blank texts


def _image_block(part: Image) -> Json:
    return {"type": "image", "source": _source(part)}


def _file_block(part: File) -> Json:
    block: Json = {"type": "document", "source": _source(part)}
    if part.media_type is not None and part.media_type.startswith("text/") and part.data is not None:
        text = part.data.decode("utf-8", "replace")
        block["source"] = {"type": "text", "media_type": "text/plain", "data": text}
    if part.name:
        block["title"] = part.name
    return block


def _source(part: Image | File) -> Json:
    if part.data is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": part.media_type, "data": base64.b64encode(part.data).decode("ascii")}


def _tool_use_block(part: ToolCall) -> Json:
    return {"type": "tool_use", "id": _identifier(part.id), "name": part.name, "input": dict(part.arguments)}


def _tool_result_block(part: ToolResult) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": _identifier(part.call_id)}
    if isinstance(part.content, str):
        block["content"] = part.content
    else:
        block["content"] = [inner for piece in part.content if (inner := _block(piece)) is not None]
    if part.is_error:
        block["is_error"] = True
    return block


def _identifier(call_id: str) -> str:
    return _NOT_IN_AN_ID.sub("_", call_id)


def _thinking_block(part: Thinking) -> Json | None:
    own = part.provider_data.get(PROVIDER)  # the block as it came: its signature fits no other wording
    return dict(own) if own else None


_BLOCKS: Mapping[type, Callable[[Any], Json | None]] = {
    Text: _text_block,
    Image: _image_block,
    File: _file_block,
    ToolCall: _tool_use_block,
    ToolResult: _tool_result_block,
    Thinking: _thinking_block,
}


def _tool(tool: Tool) -> Json:
    described: Json = {"name": tool.name, "input_schema": dict(tool.parameters)}
    if tool.description:
        described["description"] = tool.description
    return described


def _tool_choice(choice: str) -> Json:
    kind = _TOOL_CHOICES.get(choice)
    return {"type": kind} if kind is not None else {"type": "tool", "name": choice}


def _merge(body: Json, options: Mapping[str, Any]) -> None:
    """Lay options["claude"] over the body; `effort`, `output_config` and `tools` are joined with what is there."""
    for name, value in options.items():
        if name == "effort":
            body["output_config"] = {**body.get("output_config", {}), "effort": value}
        elif name == "output_config" and isinstance(value, Mapping):
            body["output_config"] = {**body.get("output_config", {}), **value}
        elif name == "tools" and isinstance(value, Sequence):
            body["tools"] = [*body.get("tools", ()), *value]
        else:
            body[name] = value


def _end_prefill(blocks: list[Json], body: Json, model: str) -> None:
    """Cut the white space off an assistant's message that the model is to go on from: the API refuses it.

    A turn that paused has blocks of a tool that runs at Anthropic; every model goes on from there.
    """
    if any(block["type"] not in _OPEN for block in blocks):
        return
    refused = model if takes_prefill(model) is False else ""
    if thinks(body):
        refused = "Claude, while it thinks,"
    elif isinstance(body.get("output_config"), Mapping) and "format" in body["output_config"]:
        refused = "Claude with an output schema"
    if refused:
        raise UnsupportedRequest(f"{refused} does not go on from an assistant's message at the end", provider=PROVIDER)
    if blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()


# ---- the reply ----


def response_of(
    body: Any, headers: Mapping[str, str], request: Request, warnings: Sequence[ResponseWarning] = ()
) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in lower case or in any case at all.
        request: what was asked.
        warnings: what the request was sent without.

    Raises:
        ContentBlocked: the model refused.
        EmptyResponse: neither text nor a tool call came.
        MalformedResponse: it is not a message as the API promises it.
    """
    request_id = headers.get("request-id")
    try:
        return _response(body, request_id, request, tuple(warnings))
    except Failure as failure:
        failure.provider, failure.request_id = PROVIDER, request_id
        raise
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected a message, found another shape ({type(error).__name__}: {error}) in {excerpt(body)}",
            provider=PROVIDER,
            request_id=request_id,
        ) from error


def _response(body: Any, request_id: str | None, request: Request, warnings: Warnings) -> LLMResponse:
    if not isinstance(body, Mapping) or body.get("type") == "error" or not isinstance(body.get("stop_reason"), str):
        raise MalformedResponse(f"expected a message with a stop_reason, found {excerpt(body)}", status=200)
    stop_reason: str = body["stop_reason"]
    finish_reason = _FINISH_REASONS.get(stop_reason, FinishReason.UNKNOWN)
    if finish_reason is FinishReason.BLOCKED:
        raise _refusal(body.get("stop_details"))
    parts, cut = _parts(body["content"], finish_reason, Overlap(request))
    text = "".join(part.text for part in parts if isinstance(part, Text))
    if not text.strip() and not any(isinstance(part, ToolCall) for part in parts) and stop_reason != "pause_turn":
        raise EmptyResponse(f"neither text nor a tool call came; the model stopped by {stop_reason}")
    return LLMResponse(
        True,
        text,
        PROVIDER,
        metadata={name: body[name] for name in ("id", "stop_reason", "stop_sequence") if body.get(name) is not None},
        model=body.get("model"),
        finish_reason=finish_reason,
        usage=_usage(body.get("usage") or {}),
        parts=parts,
        structured=structured_output(request, text, finish_reason),
        warnings=warnings + cut,
        request_id=request_id,
    )


def _refusal(details: Any) -> ContentBlocked:
    details = details if isinstance(details, Mapping) else {}
    category, explanation = details.get("category"), details.get("explanation")
    message = "the model refused" + (f" ({category})" if category else "") + (f": {explanation}" if explanation else "")
    return ContentBlocked(message, code=category if isinstance(category, str) else "refusal")


def _parts(
    blocks: Sequence[Mapping[str, Any]], finish_reason: FinishReason, new: Overlap
) -> tuple[tuple[Part, ...], Warnings]:
    parts: list[Part] = []
    warnings: list[ResponseWarning] = []
    for block in blocks:
        kind = block["type"]
        if kind == "text":
            if text := new(block["text"]):
                citations = block.get("citations")
                parts.append(Text(text, {PROVIDER: {"citations": citations}} if citations else {}))
        elif kind == "tool_use":
            arguments = block["input"]
            if arguments is None and finish_reason is FinishReason.LENGTH:
                lost = f"the call of {block['name']} was left out: its arguments were cut at the token limit"
                warnings.append(ResponseWarning("max_tokens", lost))
                continue
            if not isinstance(arguments, Mapping):
                raise TypeError(f"arguments of {block['name']} are not an object")
            parts.append(ToolCall(id=block["id"], name=block["name"], arguments=arguments))
        elif kind == "thinking":
            parts.append(Thinking(block["thinking"], {PROVIDER: dict(block)}))
        elif kind == "redacted_thinking" or _belongs_to_server(kind):
            parts.append(Thinking("", {PROVIDER: dict(block)}))
    return tuple(parts), tuple(warnings)


def _belongs_to_server(kind: str) -> bool:
    """Tell the blocks of tools that Anthropic runs itself: carried along unread, a paused turn goes on from them."""
    return kind in ("server_tool_use", "mcp_tool_use") or kind.endswith("_tool_result")


def _usage(usage: Mapping[str, Any]) -> Usage:
    def count(name: str, within: Mapping[str, Any] = usage) -> int:
        return int(within.get(name) or 0)

    read, written = count("cache_read_input_tokens"), count("cache_creation_input_tokens")
    return Usage(
        input_tokens=count("input_tokens") + read + written,
        output_tokens=count("output_tokens"),
        thinking_tokens=count("thinking_tokens", usage.get("output_tokens_details") or {}),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


class Overlap:
    """Takes off the start of a continuation what was cut off the end of what it continues, and came again.

    Args:
        request: what was asked.
    """

    def __init__(self, request: Request) -> None:
        last = request.messages[-1]
        begun = last.text if last.role == "assistant" and isinstance(last.parts[-1], Text) else ""
        self._cut = begun[len(begun.rstrip()) :]

    def __call__(self, text: str) -> str:
        """Return what is new in the next piece of text."""
        while text and self._cut and text[0] == self._cut[0]:
            text, self._cut = text[1:], self._cut[1:]
        if text:
            self._cut = ""
        return text


def excerpt(body: Any) -> str:
    text = repr(body)
    return text if len(text) <= 200 else f"{text[:200]}..."
