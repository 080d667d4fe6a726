"""Turns a reply of the Messages API, whole or assembled from a stream, into an answer.

No SDK is imported and nothing is read here. Servers that speak the API leave out fields, send null for nothing, or use
other vendors' words: whatever can be understood is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy import (
    Failure,
    File,
    FinishReason,
    Image,
    LLMResponse,
    Part,
    Request,
    ResponseWarning,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from understudy.errors import (
    ContentBlocked,
    EmptyResponse,
    MalformedResponse,
    Overloaded,
    RequestRefused,
    ServerError,
)
from understudy.provider import structured_output
from understudy_claude.dialects import says_error
from understudy_claude.failures import PROVIDER, WITHOUT_SCHEMAS, failure_of_reply
from understudy_claude.history import Json, marked
from understudy_claude.models import traits_of
from understudy_claude.wire import Asked, Warnings
from understudy_toolkit.bodies import decode_base64, excerpt, kind_of_image, read_json, text_of
from understudy_toolkit.thinking import MORE_ROOM, check_room
from understudy_toolkit.tool_calls import CallNames, checked_arguments

# Anthropic's reasons (anthropic 2.14.0, types/stop_reason.py and types/beta/beta_stop_reason.py), and after them those
# that other servers have: OpenAI's, Amazon's and Google's words. Read 2026-11-30.
_FINISH_REASONS: Mapping[str, FinishReason] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "pause_turn": FinishReason.PAUSED,
    "compaction": FinishReason.PAUSED,
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_output_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
}
_BLOCKED = ("refusal", "content_filter", "content_filtered", "guardrail_intervened", "sensitive", "safety", "blocked")
_WITHHELD = ("recitation",)  # the vendor withholds its own answer; another model would give it
_FAULTS: Mapping[str, type[Failure]] = {
    "error": ServerError,
    "network_error": ServerError,
    "internal_error": ServerError,
    "abort": ServerError,
    "aborted": ServerError,
    "overloaded": Overloaded,
    "model_overloaded": Overloaded,
}
# What goes back as it came: without its summary, a conversation that was compacted would be compacted again
# (anthropic 2.14.0, types/beta/beta_compaction_block.py).
_SIGNED = ("redacted_thinking", "compaction")
# What reading a reply, or a piece of one, raises if it does not have the shape that the API promises.
WRONG_SHAPE = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
_MOST_COUNTED = 10**12  # tokens of one reply: a larger number is not a count
_DEEPEST = 2  # JSON written as a string within JSON


def response_of(
    body: Any, headers: Mapping[str, str], asked: Asked, *, given: bool = False, warnings: Warnings = ()
) -> LLMResponse:
    """Return the answer that a reply with status 200 holds.

    Args:
        body: the reply's JSON, parsed.
        headers: the reply's headers, their names in lower case or in any case at all.
        asked: how the request was sent.
        given: whether the caller of a stream already has some of it.
        warnings: what was odd about its stream.

    Raises:
        AnswerCutShort: thinking used up the tokens, and more room may help.
        ContentBlocked: the model refused, or the vendor withheld the answer.
        EmptyResponse: neither text nor a tool call came.
        MalformedResponse: it is not a message as the API promises.
        Failure: it is an error.
    """
    request_id = text_of(headers.get("request-id"))
    try:
        return _response(body, headers, request_id, asked, given or asked.fixed, warnings)
    except Failure as failure:
        failure.provider, failure.request_id = PROVIDER, failure.request_id or request_id
        raise
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected a message, found another shape ({type(error).__name__}: {error}) in {excerpt(body)}",
            provider=PROVIDER,
            request_id=request_id,
        ) from error


def _response(
    body: Any, headers: Mapping[str, str], request_id: str | None, asked: Asked, final: bool, warnings: Warnings
) -> LLMResponse:
    if says_error(body):
        raise failure_of_reply(200, headers, body)
    if not isinstance(body, Mapping) or "content" not in body:
        raise MalformedResponse(f"expected a message with content, found {excerpt(body)}", status=200)
    given = body.get("stop_reason")
    if given is not None and not isinstance(given, str):
        raise MalformedResponse(f"expected a message with a stop_reason, found {excerpt(given)}", status=200)
    request, usage = asked.request, usage_of(body.get("usage"))
    stop_reason = (given or "").lower()
    finish_reason = _finish_reason(stop_reason, body)
    read = _Blocks(asked, finish_reason)
    for block in _content(body["content"]):
        read.take(block)
    parts = tuple(read.parts)
    if not given:
        words = "the reply did not say why the model stopped: it was taken as complete"
        read.warnings.append(ResponseWarning("stop_reason", words))
    if any(isinstance(part, ToolCall) for part in parts) and finish_reason in (FinishReason.STOP, FinishReason.UNKNOWN):
        finish_reason = FinishReason.TOOL_CALLS
    text = "".join(part.text for part in parts if isinstance(part, Text))
    thought = asked.thinks or any(isinstance(part, Thinking) for part in parts)
    full = finish_reason is FinishReason.LENGTH and stop_reason != "model_context_window_exceeded"
    answered = text.strip() or any(isinstance(part, ToolCall | Image | File) for part in parts)
    if not answered and finish_reason is not FinishReason.PAUSED:
        helps = MORE_ROOM if full and thought and not final and request.adaptation is None else None
        words = f"neither text nor a tool call came; the model stopped by {given}"
        raise EmptyResponse(words, adaptation=helps, usage=usage)
    starved = check_room(request, finish_reason, usage, thought=thought, given=final) if full else ()
    return LLMResponse(
        True,
        text,
        PROVIDER,
        metadata={name: body[name] for name in ("id", "stop_reason", "stop_sequence") if body.get(name) is not None},
        model=text_of(body.get("model")),
        finish_reason=finish_reason,
        usage=usage,
        parts=parts,
        structured=_structured(asked, text, finish_reason, final=final),
        warnings=asked.warnings + warnings + tuple(read.warnings) + starved,
        request_id=request_id,
    )


def _finish_reason(stop_reason: str, body: Mapping[str, Any]) -> FinishReason:
    if stop_reason in _BLOCKED:
        raise _refusal(stop_reason, body.get("stop_details"))
    if stop_reason in _WITHHELD:
        raise RequestRefused(f"the vendor withheld the answer: {stop_reason}", code=stop_reason)
    if stop_reason in _FAULTS:
        raise _FAULTS[stop_reason](f"the model stopped by {stop_reason}", code=stop_reason)
    return _FINISH_REASONS.get(stop_reason, FinishReason.UNKNOWN)


def _refusal(stop_reason: str, details: Any) -> ContentBlocked:
    details = details if isinstance(details, Mapping) else {}
    category, explanation = text_of(details.get("category")), text_of(details.get("explanation"))
    said = "the model refused" if stop_reason == "refusal" else f"the vendor blocked the answer: {stop_reason}"
    message = said + (f" ({category})" if category else "") + (f": {explanation}" if explanation else "")
    return ContentBlocked(message, code=category or stop_reason)


def _structured(asked: Asked, text: str, finish_reason: FinishReason, *, final: bool) -> object:
    """Parse an answer under a schema; a model that is not Anthropic's own may know nothing of structured outputs."""
    try:
        return structured_output(asked.request, text, finish_reason)
    except MalformedResponse as malformed:
        if not final and finish_reason is FinishReason.STOP and traits_of(asked.model) is None:
            malformed.adaptation = WITHOUT_SCHEMAS
        raise


def _content(content: Any) -> Sequence[Any]:
    if content is None:
        return ()
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    if not isinstance(content, list):
        raise TypeError(f"content is {type(content).__name__}")
    return content


@dataclass(slots=True)
class _Blocks:
    """Turns the blocks of a reply into parts."""

    asked: Asked
    finish_reason: FinishReason
    parts: list[Part] = field(default_factory=list)
    warnings: list[ResponseWarning] = field(default_factory=list)
    new: Overlap = field(init=False)
    names: CallNames = field(init=False)

    def __post_init__(self) -> None:
        self.new, self.names = Overlap(self.asked.request), CallNames(self.asked.request)

    def take(self, block: Any) -> None:
        """Take the next block; unknown kinds are ignored, as the API asks."""
        if not isinstance(block, Mapping):
            raise TypeError(f"a block is {type(block).__name__}")
        kind, account = block.get("type"), self.asked.account
        if kind == "text" or (kind is None and "text" in block):
            if text := self.new(text_in(block, "text")):
                citations = block.get("citations")
                self.parts.append(Text(text, marked({"citations": citations}, account) if citations else {}))
        elif kind == "tool_use":
            self._take_call(block)
        elif kind == "thinking":
            self.parts.append(Thinking(text_in(block, "thinking"), marked(dict(block), account)))
        elif kind in ("image", "document", "file"):
            self.parts.append(_attachment(kind, block))
        elif isinstance(kind, str) and (kind in _SIGNED or _belongs_to_server(kind)):
            self.parts.append(Thinking("", marked(dict(block), account)))

    def _take_call(self, block: Mapping[str, Any]) -> None:
        name = text_of(block.get("name"))
        if name is None:
            raise ValueError("a tool call has no name")
        try:
            arguments = arguments_of(block.get("input"))
        except ValueError:
            if self.finish_reason is not FinishReason.LENGTH:
                raise
            lost = f"the call of {name} was left out: its arguments were cut at the token limit"
            self.warnings.append(ResponseWarning("max_tokens", lost))
            return
        if not isinstance(arguments, Mapping):
            raise TypeError(f"arguments of {name} are not an object")
        checked_arguments(arguments)
        self.parts.append(ToolCall(id=self.names(block.get("id"), name), name=name, arguments=arguments))


def arguments_of(given: Any) -> Any:
    """Return the arguments of a tool call, which some servers write as JSON in a text; nothing is an empty object.

    Raises:
        ValueError: the text is not JSON.
    """
    for _ in range(_DEEPEST):
        if not isinstance(given, str):
            break
        given = read_json(given, strict=True) if given.strip() else None
    return {} if given is None else given


def text_in(block: Mapping[str, Any], name: str) -> str:
    """Return a string of a block or a delta; "" if it has none.

    Raises:
        TypeError: it is something else.
    """
    text = block.get(name)
    if text is not None and not isinstance(text, str):
        raise TypeError(f"{name} is {type(text).__name__}")
    return text or ""


def _attachment(kind: str, block: Mapping[str, Any]) -> Part:
    """Return a picture or a document that a model made; its bytes, or where they are."""
    source: Json = {**block, **(block["source"] if isinstance(block.get("source"), Mapping) else {})}
    url, data, media_type = text_of(source.get("url")), source.get("data"), text_of(source.get("media_type"))
    if url is None and not isinstance(data, str):
        raise ValueError(f"a block of type {kind} has neither data nor a url")
    if source.get("type") == "text" and isinstance(data, str):
        return File(data=data.encode("utf-8", "replace"), media_type="text/plain", name=text_of(block.get("title")))
    held = None if url is not None else decode_base64(data)
    if kind == "image":
        return Image(data=held, url=url, media_type=media_type or (kind_of_image(held) if held is not None else None))
    media_type = media_type or ("application/pdf" if held is not None else None)
    return File(data=held, url=url, media_type=media_type, name=text_of(block.get("title")))


def _belongs_to_server(kind: str) -> bool:
    """Return whether a block is of a tool that Anthropic runs itself: to continue a paused turn with."""
    return kind in ("server_tool_use", "mcp_tool_use") or kind.endswith("_tool_result")


def usage_of(usage: Any) -> Usage | None:
    """Return the tokens that a reply reports; None unless it reports both what was read and what was written."""
    if not isinstance(usage, Mapping):
        return None
    given, written = count_in(usage, "input_tokens"), count_in(usage, "output_tokens")
    if given is None or written is None:
        return None
    details = usage.get("output_tokens_details")
    read, kept = count_in(usage, "cache_read_input_tokens") or 0, count_in(usage, "cache_creation_input_tokens") or 0
    return Usage(
        input_tokens=given + read + kept,
        output_tokens=written,
        thinking_tokens=(count_in(details, "thinking_tokens") or 0) if isinstance(details, Mapping) else 0,
        cache_read_tokens=read,
        cache_write_tokens=kept,
    )


def count_in(usage: Mapping[str, Any], name: str) -> int | None:
    """Return a count of tokens; None if it is missing or not a count."""
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_COUNTED else None


def model_ids(body: Any, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in a page of the list of models.

    Raises:
        MalformedResponse: it is not a list of models as the API promises.
    """
    if says_error(body):
        raise failure_of_reply(200, headers, body)
    try:
        return tuple(str(model["id"]) for model in body["data"])
    except WRONG_SHAPE as error:
        raise MalformedResponse(
            f"expected a list of models, found {excerpt(body)}",
            provider=PROVIDER,
            request_id=headers.get("request-id"),
        ) from error


class Overlap:
    """Removes from the start of a continuation the white space that was cut off what it continues, and came again.

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
