"""What is held of every outcome, whatever came in."""

from __future__ import annotations

import copy
import logging
import pickle
import signal
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fuzz.corpus import KEY
from fuzz.lane import Sent
from understudy import (
    Failure,
    Finish,
    FinishReason,
    LLMResponse,
    ResponseWarning,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    errors,
)
from understudy.execution.validation import usage_fault
from understudy.messages import File, Image, ToolCall
from understudy.response import Heartbeat

# What a reply cannot mean: each of these says that nothing was sent, that the caller is at fault, or that nobody knows.
NEVER = (
    *(errors.UnknownFailure, errors.InvalidRequest, errors.Cancelled, errors.AllProvidersFailed, errors.TooManyCalls),
    *(errors.ProviderUnavailable, errors.TargetResting, errors.RequestRejected, errors.ResponseRejected),
)
SECONDS = 30.0  # of this process's own time for one example: what is right needs a thousandth of it
MOST_HELD = 32 * 2**20  # bytes for a reply of up to a megabyte, whatever is in it
HELD_A_BYTE = 48  # bytes for each byte of a larger one: what Python needs for JSON of empty lists
MOST_WORDS = 60_000  # characters of a failure with all its fields: people read it, and logs keep it


@dataclass
class Outcome:
    """What came of one call.

    Args:
        response: the answer, where there is one.
        failure: the failure, where there is one.
        events: of a stream.
        whole: whether nobody is shown them, since the answer is given whole.
    """

    response: LLMResponse | None = None
    failure: BaseException | None = None
    events: list[Any] = field(default_factory=list)
    whole: bool = False

    @property
    def kind(self) -> str:
        """What it is, to be compared with others of the same bytes."""
        return "answer" if self.response is not None else type(self.failure).__name__

    @property
    def text(self) -> str:
        """The text of a stream's pieces."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    def told(self) -> Any:
        """Everything that must be alike however the bytes were cut, ids apart."""
        if self.response is None:
            return self.kind
        return (
            *(self.kind, self.text, self.response.content, self.response.usage, self.response.finish_reason),
            [(call.name, call.arguments) for call in self.response.tool_calls],
        )


def ask(provider: Any, request: Any) -> Outcome:
    """Ask for a whole answer."""
    try:
        return Outcome(provider.generate(request))
    except Exception as failure:
        return Outcome(failure=failure)


async def aask(provider: Any, request: Any) -> Outcome:
    """Ask for a whole answer on the running event loop."""
    try:
        return Outcome(await provider.agenerate(request))
    except Exception as failure:
        return Outcome(failure=failure)


def stream(provider: Any, request: Any) -> Outcome:
    """Ask for a stream."""
    outcome = Outcome(whole=request.whole)
    try:
        for event in provider.stream(request):
            _take(outcome, event)
    except Exception as failure:
        outcome.failure, outcome.response = failure, None
    return outcome


async def astream(provider: Any, request: Any) -> Outcome:
    """Ask for a stream on the running event loop."""
    outcome = Outcome(whole=request.whole)
    try:
        async for event in provider.astream(request):
            _take(outcome, event)
    except Exception as failure:
        outcome.failure, outcome.response = failure, None
    return outcome


def _take(outcome: Outcome, event: Any) -> None:
    assert outcome.response is None, f"{event!r} came after Finish"
    if isinstance(event, Finish):
        outcome.response = event.response
    elif not isinstance(event, Heartbeat):
        outcome.events.append(event)


def check(outcome: Outcome, sent: Sent | None = None) -> None:
    """Hold everything that is promised of an outcome."""
    if outcome.failure is not None:
        check_failure(outcome.failure)
    else:
        assert outcome.response is not None, "the stream ended without Finish"
        check_answer(outcome.response, sent)
    if outcome.events:
        check_events(outcome)


def check_failure(failure: BaseException) -> None:
    """Hold what is promised of a failure."""
    if not isinstance(failure, Failure):
        raise AssertionError(f"an exception that is not ours: {failure!r:.300}") from failure
    if isinstance(failure, NEVER):
        raise AssertionError(f"no reply can mean this: {failure!r:.300}") from failure
    assert failure.status is None or 100 <= failure.status <= 999, failure.status
    assert isinstance(failure.message, str)
    for value in (failure.code, failure.request_id, failure.adaptation, failure.model):
        assert value is None or isinstance(value, str), value
    assert failure.retry_after is None or 0 <= failure.retry_after < float("inf"), failure.retry_after
    assert failure.usage is None or not usage_fault(failure.usage), failure.usage
    texts = (str(failure), repr(failure), failure.brief, repr(vars(failure)))
    assert all(KEY not in text for text in texts), "the key is in a failure"
    assert max(map(len, texts)) < MOST_WORDS, f"{max(map(len, texts)):,} characters of words: {texts[0][:300]}"
    for text in texts[:3]:
        text.encode()
    again = pickle.loads(pickle.dumps(failure))
    assert type(again) is type(failure)
    assert str(again) == str(failure)
    copy.copy(failure)
    shown = "".join(traceback.format_exception(failure))
    assert KEY not in shown, "the key is in a traceback"


def check_answer(response: LLMResponse, sent: Sent | None = None) -> None:
    """Hold what is promised of an answer."""
    assert response.success
    assert isinstance(response.content, str)
    assert isinstance(response.parts, tuple)
    assert isinstance(response.finish_reason, FinishReason), response.finish_reason
    assert response.usage is None or (isinstance(response.usage, Usage) and not usage_fault(response.usage))
    assert all(isinstance(warning, ResponseWarning) for warning in response.warnings)
    assert isinstance(response.metadata, dict)
    for value in (response.model, response.request_id):
        assert value is None or isinstance(value, str), value
    given = response.content.strip() or any(isinstance(part, ToolCall | Image | File) for part in response.parts)
    assert given or response.finish_reason is FinishReason.PAUSED, f"an answer without anything: {response!r:.500}"
    for call in response.tool_calls:
        assert isinstance(call.id, str), call
        assert call.id, call
        assert isinstance(call.name, str), call
        assert call.name, call
        assert isinstance(call.arguments, dict), call
    assert len({call.id for call in response.tool_calls}) == len(response.tool_calls), "two calls have one id"
    assert all(KEY not in str(warning) for warning in response.warnings), "the key is in a warning"
    assert repr(pickle.loads(pickle.dumps(response))) == repr(copy.deepcopy(response)) == repr(response)
    assert response.message.role == "assistant"
    if sent is not None:
        _check_origin(response.content + response.thinking, sent)


def _check_origin(text: str, sent: Sent) -> None:
    """Hold that no letter of an answer is of our own making."""
    told = Counter(_unescaped(sent.body))
    made = Counter(letter for letter in text if letter.isalnum()) - told
    assert not made, f"{dict(made)} of {text!r:.200} was not in the reply"


def _unescaped(body: bytes) -> str:
    """Return a body with what its escapes stand for, besides what it is."""
    text = body.decode("utf-8", "replace")
    more = [body.decode(encoding, "replace") for encoding in ("utf-16", "utf-32")] if b"\x00" in body else []
    parts = text.split("\\u")[1:]
    return text + "".join(chr(int(part[:4], 16)) for part in parts if _is_hex(part[:4])) + "".join(more)


def _is_hex(digits: str) -> bool:
    return len(digits) == 4 and all(digit in "0123456789abcdefABCDEF" for digit in digits)


def check_events(outcome: Outcome) -> None:
    """Hold what is promised of a stream's pieces."""
    calls: dict[int, list[ToolCallDelta]] = {}
    for event in outcome.events:
        if isinstance(event, ToolCallDelta):
            assert isinstance(event.arguments, str)
            calls.setdefault(event.index, []).append(event)
        else:
            assert isinstance(event, TextDelta | ThinkingDelta), event
            assert isinstance(event.text, str)
            assert event.text, "a piece without text"
    for index, pieces in calls.items():
        assert len({(piece.id, piece.name) for piece in pieces}) == 1, f"the pieces of call {index} differ: {pieces}"
    if outcome.response is not None:
        warned = outcome.whole or any(warning.setting == "stream" for warning in outcome.response.warnings)
        alike = outcome.text == outcome.response.content
        assert alike or warned, (outcome.text[:300], outcome.response.content[:300])
        streamed = [(pieces[0].id, pieces[0].name) for _, pieces in sorted(calls.items())]
        whole = [(call.id, call.name) for call in outcome.response.tool_calls]
        assert streamed == whole, (streamed, whole)


class Heard(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(self.format(record))


@contextmanager
def listening() -> Iterator[None]:
    """Hold that no key is logged inside the block."""
    heard, root = Heard(), logging.getLogger()
    root.addHandler(heard)
    try:
        yield
    finally:
        root.removeHandler(heard)
    assert all(KEY not in line for line in heard.lines), "the key is in a log"


class Hung(BaseException):
    """An example took too long."""


@contextmanager
def in_time(seconds: float = SECONDS) -> Iterator[None]:
    """Hold that the block ends within so many seconds of this process's own time: others' do not count."""

    def stop(*_: Any) -> None:
        raise Hung(f"more than {seconds} s of this process's time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except Hung as hung:
        raise AssertionError(str(hung)) from hung
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def within(size: int, least: int = MOST_HELD) -> Iterator[None]:
    """Hold that the block needs no more memory than is stated for a reply or a file of so many bytes."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    most = max(least, HELD_A_BYTE * size)
    assert peak <= most, f"{peak:,} bytes for a reply of {size:,}; expected at most {most:,}"


def check_turn(failure: BaseException) -> None:
    """Hold what is promised where a turn cannot be sent: that it is said before, in a failure that others may avoid."""
    if not isinstance(failure, errors.UnsupportedRequest | errors.InvalidRequest):
        raise AssertionError(f"an answer cannot be sent back: {failure!r:.300}") from failure
