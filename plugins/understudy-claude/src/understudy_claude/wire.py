"""Translation, and nothing else: a Request into the Messages API's JSON, its replies and events back.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy import (
    Failure,
    FinishReason,
    LLMResponse,
    Part,
    Request,
    ResponseWarning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    Usage,
)
from understudy.errors import ContentBlocked, EmptyResponse, InvalidRequest, MalformedResponse, UnsupportedRequest
from understudy.provider import structured_output
from understudy_claude.failures import PROVIDER
from understudy_claude.history import Json, marked, open_turn_lacks_thinking, turns_of
from understudy_claude.models import DEFAULT_MAX_TOKENS, NEWEST_VERSION, ending_warnings, takes_prefill
from understudy_claude.restrictions import api_version, fit, thinks_by_request
from understudy_claude.thinking import plan
from understudy_toolkit.bodies import excerpt
from understudy_toolkit.thinking import MORE_ROOM, check_room

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
# Settings of options["claude"] that are no fields of the body, or that are fitted to the model first.
_NOT_LAID_OVER = ("api_version", "effort", "thinking")
# What a reply, or a piece of one, raises here when it has not the shape that the API promises.
WRONG_SHAPE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


# ---- the request ----


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reply is read with: how its request was sent.

    Args:
        request: what was asked.
        warnings: what the request was sent without.
        account: the mark of the account that was asked; "" for none.
        thinks: whether the model may have thought before it answered.
        version: the version of the API.
        fixed: whether the caller set the API's own limit, so that more room cannot be asked for.
    """

    request: Request
    warnings: Warnings = ()
    account: str = ""
    thinks: bool = False
    version: str = NEWEST_VERSION
    fixed: bool = False


def request_body(request: Request, model: str, account: str = "") -> tuple[Json, Asked]:
    """Return a request as the API wants it, and with what its reply is to be read.

    Args:
        request: what to ask.
        model: the model to ask.
        account: the mark of the account that is asked.

    Raises:
        InvalidRequest: nothing is left to send, or options["claude"] cannot be merged.
        UnsupportedRequest: the model does not go on from the assistant's message at the end.
    """
    options = _options(request)
    messages, lost = turns_of(request.messages, account, request.adaptation)
    if not messages:
        raise InvalidRequest("expected a message with some content, found only empty texts", provider=PROVIDER)
    thinking = plan(request, model, resumable=not open_turn_lacks_thinking(messages))
    body: Json = {
        "model": model,
        "max_tokens": (request.max_tokens or DEFAULT_MAX_TOKENS) + thinking.room,
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
    _set_thinking(body, thinking.thinking, thinking.effort)
    if messages[-1]["role"] == "assistant":
        _end_prefill(messages[-1]["content"], body, model)
    if len(stop) < len(request.stop):
        lost += (ResponseWarning("stop", "stop texts of nothing but white space were left out: Claude takes none"),)
    asked = options.get("api_version")
    lost += thinking.warnings + fit(body, model, asked, request.adaptation) + ending_warnings(model)
    return body, Asked(request, lost, account, thinking.thinks, api_version(body, asked), "max_tokens" in options)


def _options(request: Request) -> Mapping[str, Any]:
    options = request.options.get(PROVIDER, {})
    if not isinstance(options, Mapping):
        raise InvalidRequest(
            f"expected options['claude'] as a mapping such as {{'top_k': 5}}, found {type(options).__name__}",
            provider=PROVIDER,
        )
    if not isinstance(options.get("api_version", ""), str):
        raise InvalidRequest(
            f"expected options['claude']['api_version'] as a date such as {NEWEST_VERSION!r}, "
            f"found {options['api_version']!r:.100}",
            provider=PROVIDER,
        )
    if "stream" in options:
        raise InvalidRequest(
            "expected options['claude'] without 'stream': call stream() or astream() instead", provider=PROVIDER
        )
    return options


def _tool(tool: Tool) -> Json:
    described: Json = {"name": tool.name, "input_schema": dict(tool.parameters)}
    if tool.description:
        described["description"] = tool.description
    return described


def _tool_choice(choice: str) -> Json:
    kind = _TOOL_CHOICES.get(choice)
    return {"type": kind} if kind is not None else {"type": "tool", "name": choice}


def _merge(body: Json, options: Mapping[str, Any]) -> None:
    """Lay options["claude"] over the body; `output_config` and `tools` are joined with what is there."""
    for name, value in options.items():
        if name in _NOT_LAID_OVER:
            continue
        if name == "output_config" and isinstance(value, Mapping):
            body["output_config"] = {**body.get("output_config", {}), **value}
        elif name == "tools" and isinstance(value, Sequence):
            body["tools"] = [*body.get("tools", ()), *value]
        else:
            body[name] = value


def _set_thinking(body: Json, thinking: Any, effort: Any) -> None:
    if thinking is not None:
        body["thinking"] = thinking
    output = body.get("output_config", {})
    if not isinstance(output, Mapping):
        return  # the API says best what is wrong with it
    output = {name: value for name, value in output.items() if name != "effort"}
    if effort is not None:
        output["effort"] = effort
    if output:
        body["output_config"] = output
    else:
        body.pop("output_config", None)


def _end_prefill(blocks: list[Json], body: Json, model: str) -> None:
    """Cut the white space off an assistant's message that the model is to go on from: the API refuses it.

    A turn that paused has blocks of a tool that runs at Anthropic; every model goes on from there.
    """
    if any(block["type"] not in _OPEN for block in blocks):
        return
    refused = model if takes_prefill(model) is False else ""
    if thinks_by_request(body):
        refused = "Claude, while it thinks,"
    elif isinstance(body.get("output_config"), Mapping) and "format" in body["output_config"]:
        refused = "Claude with an output schema"
    if refused:
        raise UnsupportedRequest(f"{refused} does not go on from an assistant's message at the end", provider=PROVIDER)
    if blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()


# ---- the reply ----


def response_of(body: Any, headers: Mapping[str, str], asked: Asked, *, given: bool = False) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in lower case or in any case at all.
        asked: how the request was sent.
        given: whether the caller of a stream holds some of it already.

    Raises:
        AnswerCutShort: thinking used up the tokens, and more room may help.
        ContentBlocked: the model refused.
        EmptyResponse: neither text nor a tool call came.
        MalformedResponse: it is not a message as the API promises it.
    """
    request_id = headers.get("request-id")
    try:
        return _response(body, request_id, asked, given or asked.fixed)
    except Failure as failure:
        failure.provider, failure.request_id = PROVIDER, request_id
        raise
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected a message, found another shape ({type(error).__name__}: {error}) in {excerpt(body)}",
            provider=PROVIDER,
            request_id=request_id,
        ) from error


def _response(body: Any, request_id: str | None, asked: Asked, final: bool) -> LLMResponse:
    if not isinstance(body, Mapping) or body.get("type") == "error" or not isinstance(body.get("stop_reason"), str):
        raise MalformedResponse(f"expected a message with a stop_reason, found {excerpt(body)}", status=200)
    stop_reason: str = body["stop_reason"]
    finish_reason = _FINISH_REASONS.get(stop_reason, FinishReason.UNKNOWN)
    if finish_reason is FinishReason.BLOCKED:
        raise _refusal(body.get("stop_details"))
    request, usage = asked.request, _usage(body.get("usage") or {})
    parts, cut = _parts(body["content"], finish_reason, Overlap(request), asked.account)
    text = "".join(part.text for part in parts if isinstance(part, Text))
    thought = asked.thinks or any(isinstance(part, Thinking) for part in parts)
    full = stop_reason == "max_tokens"
    if not text.strip() and not any(isinstance(part, ToolCall) for part in parts) and stop_reason != "pause_turn":
        helps = MORE_ROOM if full and thought and not final and request.adaptation is None else None
        words = f"neither text nor a tool call came; the model stopped by {stop_reason}"
        raise EmptyResponse(words, adaptation=helps, usage=usage)
    starved = check_room(request, finish_reason, usage, thought=thought, given=final) if full else ()
    return LLMResponse(
        True,
        text,
        PROVIDER,
        metadata={name: body[name] for name in ("id", "stop_reason", "stop_sequence") if body.get(name) is not None},
        model=body.get("model"),
        finish_reason=finish_reason,
        usage=usage,
        parts=parts,
        structured=structured_output(request, text, finish_reason),
        warnings=asked.warnings + cut + starved,
        request_id=request_id,
    )


def _refusal(details: Any) -> ContentBlocked:
    details = details if isinstance(details, Mapping) else {}
    category, explanation = details.get("category"), details.get("explanation")
    message = "the model refused" + (f" ({category})" if category else "") + (f": {explanation}" if explanation else "")
    return ContentBlocked(message, code=category if isinstance(category, str) else "refusal")


def _parts(
    blocks: Sequence[Mapping[str, Any]], finish_reason: FinishReason, new: Overlap, account: str
) -> tuple[tuple[Part, ...], Warnings]:
    parts: list[Part] = []
    warnings: list[ResponseWarning] = []
    for block in blocks:
        kind = block["type"]
        if kind == "text":
            if text := new(block["text"]):
                citations = block.get("citations")
                parts.append(Text(text, marked({"citations": citations}, account) if citations else {}))
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
            parts.append(Thinking(block["thinking"], marked(dict(block), account)))
        elif kind == "redacted_thinking" or _belongs_to_server(kind):
            parts.append(Thinking("", marked(dict(block), account)))
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


def model_ids(body: Any, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in a page of the list of models.

    Raises:
        MalformedResponse: it is not a list of models as the API promises it.
    """
    try:
        return tuple(str(model["id"]) for model in body["data"])
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected a list of models, found {excerpt(body)}",
            provider=PROVIDER,
            request_id=headers.get("request-id"),
        ) from error


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
