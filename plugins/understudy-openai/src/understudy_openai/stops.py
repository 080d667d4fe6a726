"""How answers end: by a reason that the server tells, or at a stop text, which is applied where an answer is read.

OpenAI's models that reason take no stop texts, nor does the Responses API.
A server that stops by itself leaves nothing to cut. Where it goes on, what comes after the stop text is paid for and
not shown; a stream is read to its end all the same, which tells its tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from understudy import Failure, FinishReason, Part, StreamEvent, Text, TextDelta, ToolCallDelta
from understudy.errors import ContentBlocked, MalformedResponse, Overloaded, RequestRefused, ServerError, Timeout

# finish_reason: how an answer ended, or which failure it is; one that is not here is new, and told as unknown.
# OpenAI's reference; others are named, from their references and from public reports, read 2026-11-30.
ENDINGS: Mapping[str, FinishReason | type[Failure]] = {
    "stop": FinishReason.STOP,
    "end_turn": FinishReason.STOP,  # xAI, Anthropic's word
    "eos": FinishReason.STOP,  # Together
    "eos_token": FinishReason.STOP,  # TGI
    "stop_sequence": FinishReason.STOP,  # TGI, Anthropic's word
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,  # Anthropic's word
    "model_length": FinishReason.LENGTH,  # Mistral: the window ran out
    "model_context_window_exceeded": FinishReason.LENGTH,  # z.ai, Anthropic's word
    "context_length_exceeded": FinishReason.LENGTH,
    "context_window_exceeded": FinishReason.LENGTH,
    "max_output_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_call": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,  # Anthropic's word
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": ContentBlocked,
    "content_filtered": ContentBlocked,  # Bedrock
    "guardrail_intervened": ContentBlocked,  # Bedrock
    "refusal": ContentBlocked,  # Anthropic's word
    "safety": ContentBlocked,  # Google's word
    "prohibited_content": ContentBlocked,
    "blocklist": ContentBlocked,
    "sensitive": ContentBlocked,  # z.ai
    "recitation": RequestRefused,  # Google's word: another model would answer
    "malformed_function_call": MalformedResponse,  # Google's word
    "function_call_filter: malformed_function_call": MalformedResponse,  # Google's compatible endpoint
    "unexpected_tool_call": MalformedResponse,
    "abort": ServerError,  # vLLM, SGLang
    "aborted": ServerError,
    "cancelled": ServerError,
    "error": ServerError,  # Mistral, OpenRouter, vLLM
    "failed": ServerError,
    "insufficient_system_resource": Overloaded,  # DeepSeek
    "model_overloaded": Overloaded,
    "overloaded": Overloaded,
    "network_error": ServerError,  # z.ai
    "timeout": Timeout,
}


def ending_of(reason: str) -> FinishReason | type[Failure]:
    """Return how an answer ended: UNKNOWN for a reason that is new; or which failure the reason means.

    Args:
        reason: the finish_reason that the server told, in any case.
    """
    return ENDINGS.get(reason.strip().lower(), FinishReason.UNKNOWN)


def find_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Return where the first stop text begins, and which it is; None where there is none.

    The first is the one that is complete first, as it is for who writes the text.
    """
    found = [(start + len(stop), start, stop) for stop in stops if (start := text.find(stop)) >= 0]
    if not found:
        return None
    _, start, stop = min(found)
    return start, stop


def cut_parts(parts: Sequence[Part], stops: Sequence[str]) -> tuple[list[Part], str | None]:
    """Return the parts of an answer up to the first stop text in its text, and that stop text."""
    found = find_stop("".join(part.text for part in parts if isinstance(part, Text)), stops)
    if found is None:
        return list(parts), None
    left, stop = found
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, Text):
            if len(part.text) > left:
                kept += [replace(part, text=part.text[:left])] if left else []
                break
            left -= len(part.text)
        kept.append(part)
    return kept, stop


class StopFilter:
    """Holds a stream's text back from the first stop text on, and knows what the caller holds.

    Args:
        stops: the stop texts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""  # the end of the text, as long as it may be the beginning of a stop text
        self._stopped = False
        self._shown: list[str] = []
        self.given = False  # whether the caller holds a piece of an answer: text, or a tool call

    @property
    def text(self) -> str:
        """The text that the caller holds."""
        return "".join(self._shown)

    def shown(self, events: Iterable[StreamEvent], *, ended: bool) -> list[StreamEvent]:
        """Return what of these events the caller may see, and what was held back, once nothing more can come."""
        told = list(self._passed(events))
        if ended and self._held:
            told.append(TextDelta(self._held))
            self._held = ""
        for event in told:
            if isinstance(event, TextDelta):
                self._shown.append(event.text)
                self.given = self.given or bool(event.text.strip())
            elif isinstance(event, ToolCallDelta):
                self.given = True
        return told

    def _passed(self, events: Iterable[StreamEvent]) -> Iterator[StreamEvent]:
        for event in events:
            if isinstance(event, TextDelta) and self._stops:
                yield from self._text(event.text)
            elif not (self._stopped and isinstance(event, ToolCallDelta)):
                yield event

    def _text(self, piece: str) -> Iterator[StreamEvent]:
        if self._stopped:
            return
        text, self._held = self._held + piece, ""
        found = find_stop(text, self._stops)
        if found is not None:
            text, self._stopped = text[: found[0]], True
        else:
            held = max(_overlap(text, stop) for stop in self._stops)
            text, self._held = text[: len(text) - held], text[len(text) - held :]
        if text:
            yield TextDelta(text)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop text."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
