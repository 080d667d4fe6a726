"""Rules of the contract: what a provider does when its vendor fails. One rule for each possible mistake."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import pytest

from understudy.errors import Failure, QuotaFailure, StreamInterrupted, Timeout
from understudy.provider import ChatProvider
from understudy.response import Finish, StreamEvent
from understudy.routing.adapters import PlainProvider
from understudy_toolkit.conformance.asking import PATIENCE, REQUEST, WAYS, Way, becomes, text_of
from understudy_toolkit.conformance.faults import FAULTS, HINT, KEY_TELLERS, RETRIED_BY_SDKS, SILENCES, STREAM_BREAKS
from understudy_toolkit.conformance.setup import ContractSetup

IMPATIENT = 0.2  # seconds; a fault that only a timeout ends
GRACE = 0.5  # seconds that may pass beyond it, the best time of all
ATTEMPTS = 6  # on a busy machine some of them are late; who raises the timeout is late each time
UNHURRIED = 60.0  # seconds; it must not be the timeout that ends the call
PATIENT = replace(REQUEST, timeout=5)
HURRIED = replace(REQUEST, timeout=IMPATIENT)
_TIMED = (*SILENCES, "dribble")
_KINDS = "__understudy_faults__"


Rule = TypeVar("Rule", bound=Callable[..., None])


def for_each(kinds: Iterable[str]) -> Callable[[Rule], Rule]:
    """Let a rule hold for each of these faults."""

    def mark(rule: Rule) -> Rule:
        setattr(rule, _KINDS, tuple(kinds))
        return rule

    return mark


class FailureRules(ContractSetup):
    """What happens when the vendor fails."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each rule for its faults; once, to be skipped, where none can be arranged."""
        kinds = getattr(metafunc.function, _KINDS, None)
        if kinds is not None:
            arranged = type(self).fault is not ContractSetup.fault
            metafunc.parametrize("kind", kinds if arranged else kinds[:1])

    @for_each(kind for kind in FAULTS if kind not in _TIMED)
    def test_a_fault_is_its_failure(self, kind: str, ask: Way, provider: ChatProvider) -> None:
        says = self.arrange(kind)
        failure = ask.fails(provider, PATIENT, says)
        fault = FAULTS[kind]
        expected: tuple[type[Failure], ...] = fault.streamed if ask.streams else fault.whole
        if isinstance(provider, PlainProvider):  # recognised by its words alone
            expected = (QuotaFailure,) if kind.startswith("rate_limited") else (Failure,)
        assert isinstance(failure, expected), (
            f"expected {' or '.join(kind.__name__ for kind in expected)} from {ask.name}() when the vendor does this: "
            f"{says}; found {failure!r}. Its class decides what is done next: correct your table of failures"
        )
        assert failure.provider in ("", self.name), f"expected failures of {self.name}, found {failure.provider!r}"

    def test_the_vendors_hint_is_passed_on(self, ask: Way, provider: ChatProvider) -> None:
        self.not_for_three_methods(provider, "they have no place for a hint")
        says = self.arrange("rate_limited_with_hint")
        found = ask.fails(provider, PATIENT, says).retry_after
        assert found == pytest.approx(HINT), (
            f"expected retry_after {HINT:g} seconds when the vendor does this: {says}; found {found!r}; read it with "
            "understudy.parse_retry_after(headers), or where your vendor has it"
        )
        says = self.arrange("rate_limited")
        found = ask.fails(provider, PATIENT, says).retry_after
        assert found is None, f"expected retry_after None when the vendor gives no hint, found {found!r}"

    @for_each(RETRIED_BY_SDKS)
    def test_a_failure_asks_once(self, kind: str, ask: Way, provider: ChatProvider) -> None:
        if self.request_count() is None:
            pytest.skip("request_count() returns None: requests cannot be counted")
        says = self.arrange(kind)
        ask.fails(provider, PATIENT, says)
        count = self.request_count()
        cure = "turn off the following of redirections" if kind == "redirected" else "turn your SDK's retries off"
        assert count == 1, (
            f"expected exactly one request on the socket when the vendor does this: {says}; found {count}; the factory "
            f"is the only retrier, and its record must be true: {cure}"
        )

    @for_each(SILENCES)
    def test_the_timeout_is_kept(self, kind: str, ask: Way, provider: ChatProvider) -> None:
        self._is_timed_out(kind, ask, provider)

    def test_the_timeout_bounds_a_whole_answer_that_trickles(self, provider: ChatProvider) -> None:
        for way in WAYS:
            if not way.streams:
                self._is_timed_out("dribble", way, provider)

    def _is_timed_out(self, kind: str, ask: Way, provider: ChatProvider) -> None:
        self.not_for_three_methods(provider, "they do not get the timeout")
        self.arrange("text")
        ask(provider, REQUEST)  # whatever is loaded and made for the first call takes none of the time
        says = self.arrange(kind)
        took: list[float] = []
        while len(took) < ATTEMPTS and min(took, default=GRACE * 2) > IMPATIENT + GRACE:
            begun = time.monotonic()
            failure = ask.fails(provider, HURRIED, says)
            took.append(time.monotonic() - begun)
            assert isinstance(failure, Timeout | StreamInterrupted if ask.streams else Timeout), (
                f"expected Timeout from {ask.name}() when the vendor does this: {says}; found {failure!r}"
            )
        assert min(took) <= IMPATIENT + GRACE, (
            f"expected {ask.name}() to end soon after request.timeout, {IMPATIENT:g} s, when the vendor does this: "
            f"{says}; found that it took {min(took):.1f} s at the best of {ATTEMPTS} times; pass request.timeout to "
            "your SDK as it is, and watch the clock where its timeout is only for each piece"
        )

    def test_cancelling_closes_the_connection(self, provider: ChatProvider) -> None:
        self.needs(provider, "native_async")
        if self.open_connections() is None:
            pytest.skip("open_connections() returns None: connections cannot be counted")
        self.arrange("black_hole")

        async def cancel() -> bool:
            call = asyncio.ensure_future(provider.agenerate(replace(REQUEST, timeout=UNHURRIED)))
            while not self.request_count():
                await asyncio.sleep(0.01)
                if call.done():
                    await call
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(call, PATIENCE)
            return await asyncio.to_thread(becomes, lambda: self.open_connections() == 0)

        assert asyncio.run(cancel()), (
            f"expected no open connection once the call is cancelled, found {self.open_connections()}: the vendor "
            "would go on, and charge; let CancelledError pass, and close the reply in a `finally`"
        )

    @for_each(SILENCES)
    def test_cancelling_a_stream_closes_its_connection(self, kind: str, provider: ChatProvider) -> None:
        self.needs(provider, "native_async")
        if self.open_connections() is None:
            pytest.skip("open_connections() returns None: connections cannot be counted")
        says = self.arrange(kind)

        async def listen(events: list[StreamEvent]) -> None:
            async for event in provider.astream(replace(REQUEST, timeout=UNHURRIED)):
                events.append(event)

        async def cancel() -> bool:
            events: list[StreamEvent] = []
            listening = asyncio.ensure_future(listen(events))
            while not (events if kind == "stall" else self.request_count()):
                await asyncio.sleep(0.01)
                if listening.done():
                    await listening
            listening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(listening, PATIENCE)
            return await asyncio.to_thread(becomes, lambda: self.open_connections() == 0)

        assert asyncio.run(cancel()), (
            f"expected no open connection once astream() is cancelled while it waits ({says}), found "
            f"{self.open_connections()}; let CancelledError pass, and close the reply in a `finally`"
        )

    @for_each(STREAM_BREAKS)
    def test_what_came_before_a_break_was_told(self, kind: str, ask_stream: Way, provider: ChatProvider) -> None:
        self.needs(provider, "streaming")
        says = self.arrange(kind)
        events: list[StreamEvent] = []
        failure: Failure | None = None
        try:
            ask_stream.events(provider, PATIENT, events)
        except Failure as raised:
            failure = raised
        assert failure is not None, (
            f"expected {ask_stream.name}() to raise when the vendor does this: {says}; found that it just ended, so "
            "that a cut answer would pass for a whole one; raise StreamInterrupted(partial=...)"
        )
        assert not any(isinstance(event, Finish) for event in events), (
            f"expected no Finish when the vendor does this: {says}; found one: a cut answer would pass for a whole one"
        )
        told = text_of(events)
        assert told, f"expected the text that came to be told before the failure when the vendor does this: {says}"
        if isinstance(failure, StreamInterrupted):
            assert failure.partial == told, (
                f"expected StreamInterrupted.partial to be the text that was told, {told!r:.100}, "
                f"found {failure.partial!r:.100}"
            )

    @for_each(KEY_TELLERS)
    def test_its_key_is_in_no_failure(
        self, kind: str, ask: Way, provider: ChatProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = self.secret()
        caplog.set_level(logging.DEBUG)
        says = self.arrange(kind)
        failure = ask.fails(provider, PATIENT, says)
        places = {
            "str()": str(failure),
            "repr()": repr(failure),
            "the traceback": "".join(traceback.format_exception(failure)),
            "the log": caplog.text,
            "what hangs on it": "".join(repr(vars(link)) for link in _chain(failure)),
        }
        found = [place for place, text in places.items() if secret in text]
        assert not found, (
            f"expected the key nowhere when the vendor does this: {says}; found it in {' and '.join(found)} of "
            f"{type(failure).__name__}; raise the Failure `from None` where the SDK's own error holds the reply, and "
            "keep the key out of what your SDK logs"
        )

    def test_the_next_question_is_answered(self, ask: Way, provider: ChatProvider) -> None:
        ask.fails(provider, PATIENT, self.arrange("cut"))
        self.arrange("text")
        assert ask(provider, REQUEST).success, "expected a healthy vendor to be answered from after a failure"

    def test_three_methods_turn_a_failure_into_a_response(self, provider: ChatProvider) -> None:
        says = self.arrange("server_error")
        with self.factory() as factory:
            response = factory.generate_content("Hello", max_retries=0)
        assert response.success is False, f"expected success False when the vendor does this: {says}"
        owner = provider.provider if isinstance(provider, PlainProvider) else provider
        try:
            response = owner.generate_content("Hello", 0.0, 64)
        except Exception as error:
            if owner is provider:
                raise AssertionError(
                    f"expected generate_content() to return a response when the vendor does this: {says}; found it "
                    f"raising {type(error).__name__}: {error}; leave it as ChatProvider has it"
                ) from error
            return  # three methods may let their exceptions propagate
        assert response.success is False, f"expected success False when the vendor does this: {says}; found an answer"
        assert response.error, "expected the reason in `error`, found none"


def _chain(failure: BaseException | None) -> Iterator[BaseException]:
    """Yield a failure, and whatever led to it."""
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__
