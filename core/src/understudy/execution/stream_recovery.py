"""What the caller of a stream holds so far, across all attempts of one call.

Nothing is given before the first event with substance: until then another target can take over without the caller
noticing. With the stream recovery "buffer" more is held back. When a target takes over what was already given, the
caller is notified by an event: Restart if it begins again, Continuation if it goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from understudy.errors import Failure, MalformedResponse, Timeout
from understudy.execution.stream_clocks import Clocks
from understudy.messages import Message, Request, Text, in_whole_characters, place_of_half
from understudy.policy import Policy
from understudy.response import (
    Continuation,
    Heartbeat,
    LLMResponse,
    Restart,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)

TOO_LATE = "the deadline passed in the middle of the stream"
CHARACTERS = 4  # in a token: the vendors' own rule of thumb for English


class Delivery:
    """What was given in one call, and what is held back of the attempt under way.

    Args:
        policy: the numbers.
        clock: gives seconds, monotonic.
        deadline: when the whole call must end, on that clock; None for no limit.

    Attributes:
        began: whether the caller holds a piece of the attempt under way.
        clocks: of the attempt under way.
    """

    __slots__ = (
        "_broken",
        "_clock",
        "_deadline",
        "_given",
        "_halves",
        "_held",
        "_held_characters",
        "_policy",
        "_refused",
        "_resumed",
        "_target",
        "_tool_calls",
        "_whole",
        "began",
        "clocks",
    )

    def __init__(self, policy: Policy, clock: Callable[[], float], deadline: float | None) -> None:
        self._policy = policy
        self._clock = clock
        self._deadline = deadline
        self._broken: tuple[str, Failure] | None = None  # who broke off and why, until the caller is told
        self._given: list[str] = []  # the pieces of text that the caller holds, and that count
        self._halves: dict[Any, StreamEvent] = {}  # the half of a character that the last piece of each kind ended in
        self._held: list[StreamEvent] = []
        self._held_characters = 0
        self._refused = False  # whether what was given is a whole answer that was rejected
        self._resumed = ""  # what the attempt under way goes on from
        self._target = ""
        self._tool_calls: list[str] = []  # the ids of those that the caller holds, and that count
        self._whole = False  # whether the attempt came to its end
        self.began = False
        self.clocks: Clocks | None = None

    # ---- one attempt ----

    def begin(self, target: str, clocks: Clocks) -> None:
        """Begin an attempt on a target, with its clocks."""
        self._target = target
        self._held, self._held_characters, self._halves = [], 0, {}
        self.began, self.clocks = False, clocks
        self._whole = False

    def patience(self) -> float:
        """Return how many seconds the next event may take.

        Raises:
            Timeout: the deadline of the whole call has passed.
        """
        assert self.clocks is not None  # an attempt has begun
        patience = self.clocks.patience()
        if self._deadline is None:
            return patience
        now = self._clock()
        self._check_deadline(now)
        return min(patience, self._deadline - now)

    def timed_out(self) -> Timeout:
        """Return the failure of an attempt whose next piece took too long."""
        assert self.clocks is not None
        begun = self.clocks.first_at is not None
        if begun and self._deadline is not None and self._clock() >= self._deadline:
            return Timeout(TOO_LATE)
        return self.clocks.timed_out()

    def take(self, event: StreamEvent) -> list[StreamEvent]:
        """Take one event from the provider and return those that the caller gets now.

        Raises:
            Timeout: it came too late, or the deadline of the whole call has passed.
            MalformedResponse: it is not an event.
        """
        assert self.clocks is not None
        _check(event)
        if self._deadline is not None:
            self._check_deadline(self._clock())
        if self.clocks.is_over():
            raise self.timed_out()
        progress = self.clocks.hear(event)
        if type(event) is Heartbeat:
            return []
        if self._halves or type(event) is not TextDelta or not event.text.isascii():
            event = self._in_whole_characters(event)
        if self.began:
            self._note(event)
            return [event]
        self._held.append(event)
        if not progress:
            return []
        if self._policy.stream_recovery == "buffer":
            tokens = self._policy.buffer_tokens
            self._held_characters += len(_text_of(event))
            if tokens is None or self._held_characters < tokens * CHARACTERS:
                return []
        return self.release()

    def complete(self, response: LLMResponse) -> LLMResponse:
        """Return the attempt's answer, together with what it goes on from."""
        self._whole = True
        self._held += [_with(event, in_whole_characters(_text_of(event))) for event in self._halves.values()]
        if not self._resumed or not isinstance(response, LLMResponse) or not isinstance(response.content, str):
            return response  # check_answer decides whether this is an answer
        rest = _without_repeated([TextDelta(response.content)], _blank(self._resumed))
        content = self._resumed + "".join(event.text for event in rest if type(event) is TextDelta)
        others = tuple(part for part in response.parts or () if not isinstance(part, Text))
        return replace(response, content=content, parts=(Text(content), *others))

    def release(self) -> list[StreamEvent]:
        """Return what was held back; if the target took over, preceded by the event that says so."""
        held, self._held = self._held, []
        events: list[StreamEvent] = []
        if self._broken is not None:
            who, failure = self._broken
            self._broken = None
            if self._resumed:
                events.append(Continuation(who, self._target, failure))
                held = _without_repeated(held, _blank(self._resumed))
            else:
                events.append(Restart(who, self._target, failure, tuple(dict.fromkeys(self._tool_calls))))
                self._given, self._tool_calls = [], []
        for event in held:
            self._note(event)
        self.began = self.began or bool(held or events)
        return events + held

    # ---- from one attempt to the next ----

    @property
    def pieces(self) -> list[str] | None:
        """The pieces of text that the caller holds; None where it holds nothing of this attempt."""
        return self._given if self.began else None

    def broke_off(self, failure: Failure) -> None:
        """Record that an attempt failed of which the caller holds a piece."""
        self._broken = (self._target, failure)
        self._refused = self._whole

    def lack(self, request: Request, prefill: bool) -> str | None:
        """Say why a target that declares `prefill` or not cannot take up what was given, where it cannot."""
        if self._broken is None or self._refused or self._policy.stream_recovery != "continue":
            return None
        if self._tool_calls or request.output_schema is not None:
            return "does not go on with a begun tool call or JSON"
        return None if prefill or not self._text().strip() else "does not go on with a begun answer"

    def resume(self, request: Request) -> Request:
        """Return the request for an attempt: to continue an answer, it ends with what was given of it.

        A whole answer that was refused is not continued: the next target begins again.
        """
        text = self._text()
        goes_on = self._broken is not None and not self._refused and self._policy.stream_recovery == "continue"
        if not goes_on or not text.strip():
            self._resumed = ""
            return request
        self._resumed = text
        begun = Message("assistant", (Text(text.rstrip()),))  # Anthropic takes no white space at its end
        return replace(request, messages=(*request.messages, begun))

    # ---- helpers ----

    def _check_deadline(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            raise Timeout(TOO_LATE)

    def _text(self) -> str:
        return "".join(self._given)

    def _in_whole_characters(self, event: StreamEvent) -> StreamEvent:
        """Return a piece without half of a surrogate pair at its end, which is kept for the next piece of its kind."""
        if not self._halves and place_of_half(_text_of(event)) is None:
            return event
        kind = type(event), getattr(event, "index", 0)
        text = _text_of(self._halves.pop(kind, Heartbeat())) + _text_of(event)
        if "\ud800" <= text[-1:] <= "\udbff":
            self._halves[kind], text = _with(event, text[-1]), text[:-1]
        mended: StreamEvent = _with(event, in_whole_characters(text))
        return mended

    def _note(self, event: StreamEvent) -> None:
        if type(event) is TextDelta:
            self._given.append(event.text)
        elif type(event) is ToolCallDelta:
            self._tool_calls.append(event.id)


def _check(event: object) -> None:
    if type(event) is TextDelta or type(event) is ThinkingDelta:
        if type(event.text) is not str:
            raise MalformedResponse(f"expected a string in a {type(event).__name__}, found {event.text!r:.80}")
    elif not isinstance(event, TextDelta | ThinkingDelta | ToolCallDelta | Heartbeat):
        raise MalformedResponse(f"expected an event of a stream, found {event!r:.80}")


def _text_of(event: StreamEvent) -> str:
    """Return what the model wrote for an event."""
    if isinstance(event, TextDelta | ThinkingDelta):
        return event.text
    return event.arguments if isinstance(event, ToolCallDelta) else ""


def _with(event: Any, text: str) -> Any:
    return replace(event, **{"arguments" if isinstance(event, ToolCallDelta) else "text": text})


def _blank(text: str) -> str:
    """Return the white space at the end of a text."""
    return text[len(text.rstrip()) :]


def _without_repeated(events: list[StreamEvent], blank: str) -> list[StreamEvent]:
    """Return a continuation without the white space at its beginning that the caller already holds."""
    kept: list[StreamEvent] = []
    for event in events:
        if blank and type(event) is TextDelta:
            pairs = zip(event.text, blank, strict=False)
            repeated = next(
                (n for n, (one, other) in enumerate(pairs) if one != other), min(len(event.text), len(blank))
            )
            rest = event.text[repeated:]
            blank = "" if rest else blank[repeated:]
            event = TextDelta(rest)
            if not rest:
                continue
        kept.append(event)
    return kept
