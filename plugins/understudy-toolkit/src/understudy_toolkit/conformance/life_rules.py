"""Rules of the contract: threads, event loops, closing, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from understudy.errors import StreamInterrupted, Timeout
from understudy.messages import Message, Request
from understudy.provider import ChatProvider
from understudy.response import StreamEvent
from understudy_toolkit.conformance import asking
from understudy_toolkit.conformance.asking import PROMPT, REQUEST, WAYS, Way, becomes, finish_of, text_of, unclosed
from understudy_toolkit.conformance.setup import ContractSetup

THREADS = 16
STREAMS = 4
LOOPS = 4
TIMEOUTS = (0.3, 1.5, 6.0)  # seconds; on a busy machine even the first piece may be late for the shorter ones
LEFT = "close clients in close(); understudy_toolkit.clients.Clients does it for every thread and event loop"


class LifeRules(ContractSetup):
    """A provider's whole life."""

    def test_sixteen_threads_can_ask_at_once(self, provider: ChatProvider) -> None:
        expected = self._one_by_one(provider)
        barrier = threading.Barrier(THREADS)

        def ask(number: int) -> str:
            barrier.wait(asking.PATIENCE)
            return provider.generate(_numbered(number)).content

        with ThreadPoolExecutor(THREADS) as pool:
            _are_not_mixed("threads", list(pool.map(ask, range(THREADS))), expected)

    def test_sixteen_tasks_can_ask_at_once(self, provider: ChatProvider) -> None:
        expected = self._one_by_one(provider)

        async def ask_all() -> list[str]:
            answers = await asyncio.gather(*(provider.agenerate(_numbered(number)) for number in range(THREADS)))
            return [answer.content for answer in answers]

        _are_not_mixed("tasks", asyncio.run(ask_all()), expected)

    def test_streams_at_once_are_not_mixed(self, ask_stream: Way, provider: ChatProvider) -> None:
        expected = self._one_by_one(provider, STREAMS)
        told = asking.in_turn(ask_stream, provider, [_numbered(number) for number in range(STREAMS)])
        _are_not_mixed("streams", [text_of(events) for events in told], expected)
        ends = [finish_of(ask_stream.name, events).response.content for events in told]
        _are_not_mixed("streams (in Finish)", ends, expected)

    def _one_by_one(self, provider: ChatProvider, count: int = THREADS) -> list[str]:
        """Return what each caller is answered who asks alone."""
        self.arrange("text")
        words = re.findall(r"[A-Za-z]{3,}", WAYS[0](provider, REQUEST).content)
        if words:
            self.tell_apart(max(words, key=len))
        return [WAYS[0](provider, _numbered(number)).content for number in range(count)]

    def test_event_loops_and_threads_can_ask_at_once(self, provider: ChatProvider) -> None:
        self.arrange("text")
        before = self.request_count()

        async def ask() -> bool:
            calls = [provider.agenerate(REQUEST), provider.agenerate(REQUEST)]
            answers = await asyncio.gather(*calls, asyncio.to_thread(provider.generate, REQUEST))
            return all(answer.success for answer in answers)

        with ThreadPoolExecutor(LOOPS) as pool:
            assert all(pool.map(lambda _: asyncio.run(ask()), range(LOOPS))), "expected every event loop to be answered"
        count = self.request_count()
        if count is not None and before is not None:
            assert count - before == 3 * LOOPS, f"expected {3 * LOOPS} requests, one a call, found {count - before}"

    def test_one_connection_serves_many_calls(self, provider: ChatProvider) -> None:
        self.stated("keeps_connections")
        if self.connection_count() is None:
            pytest.skip("connection_count() returns None: connections cannot be counted")
        self.arrange("text")

        async def ask_often() -> None:
            for _ in range(3):
                await provider.agenerate(REQUEST)

        def ask(_: int) -> None:
            provider.generate(REQUEST)

        with ThreadPoolExecutor(LOOPS) as pool:
            uses: dict[str, tuple[int, Callable[[], object]]] = {
                "3 calls on one event loop": (1, lambda: asyncio.run(ask_often())),
                f"{3 * LOOPS} calls on {LOOPS} threads": (LOOPS, lambda: list(pool.map(ask, range(3 * LOOPS)))),
            }
            for what, (most, use) in uses.items():
                before = self.connection_count() or 0
                use()
                opened = (self.connection_count() or 0) - before
                assert opened <= most, (
                    f"expected {what} to need {most} connections at most (keeps_connections is True), found {opened}: "
                    "each costs a handshake; keep your SDK's clients, in understudy_toolkit.clients.Clients for example"
                )

    def test_one_event_loop_after_another(self, provider: ChatProvider) -> None:
        self.arrange("text")
        for number in (1, 2):
            for way in WAYS:
                assert way(provider, REQUEST).success, f"expected {way.name}() to succeed on event loop {number}"
        count = self.open_connections
        assert becomes(lambda: (count() or 0) <= 1), (
            f"expected connections to end with their event loops, found {count()} open where only that of the sync "
            f"calls may be; keep your SDK's clients in understudy_toolkit.clients.Clients"
        )

    def test_it_can_be_closed_and_used_again(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        for _ in range(2):
            assert ask(provider, REQUEST).success, "expected a provider that was closed to open what it needs again"
            provider.close()
            provider.close()
        self._nothing_is_open()

    def test_aclose_closes_too(self, provider: ChatProvider) -> None:
        self.arrange("text")

        async def live() -> None:
            for _ in range(2):
                assert (await provider.agenerate(REQUEST)).success
                await provider.aclose()
                await provider.aclose()

        asyncio.run(live())
        self._nothing_is_open()

    def test_nothing_is_left_behind(self, ask: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        threads = set(threading.enumerate())
        with unclosed() as left:
            own = self.make()
            assert ask(own, REQUEST).success
            own.close()
            del own
        assert not left, f"expected everything closed after close(), found {left}; {LEFT}"
        new = {thread for thread in threading.enumerate() if thread not in threads and not _belongs_to_test(thread)}
        ended = becomes(lambda: not any(thread.is_alive() for thread in new))
        alive = sorted(thread.name for thread in new if thread.is_alive())
        assert ended, f"expected no thread to go on after close(), found {alive}"
        self._nothing_is_open()

    def test_a_stream_can_be_left_early(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.arrange("text")
        with unclosed() as left:
            _leave_early(ask_stream, provider, REQUEST)
            assert WAYS[0](provider, REQUEST).success, "expected the next question to be answered"
            provider.close()
        assert not left, f"expected a stream that is left early to close what it opened, found {left}"
        self._nothing_is_open()

    def test_a_caller_may_take_its_time_over_a_stream(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.not_for_three_methods(provider, "they do not get the timeout")
        self.arrange("text")
        ask_stream(provider, REQUEST)  # whatever is loaded and made for the first call takes none of the time
        for timeout in TIMEOUTS:
            try:
                events = _read_slowly(ask_stream, provider, replace(REQUEST, timeout=timeout), timeout * 1.5)
            except (Timeout, StreamInterrupted) as failure:
                found = failure
                continue
            finish_of(ask_stream.name, events)
            return
        raise AssertionError(
            f"expected request.timeout to bound the wait for each piece of {ask_stream.name}(), found that a stream "
            f"whose caller was slow ended in {found!r}; stop the clock while the caller has the piece"
        )

    def test_leaving_a_stream_closes_its_connection(self, ask_stream: Way, provider: ChatProvider) -> None:
        self.needs(provider, "streaming")
        if self.open_connections() is None:
            pytest.skip("open_connections() returns None: connections cannot be counted")
        self.arrange("stall")
        closed: list[bool] = []
        _leave_early(
            ask_stream,
            provider,
            replace(REQUEST, timeout=asking.PATIENCE + 2),  # it must not be the timeout that closes it
            lambda: closed.append(becomes(lambda: self.open_connections() == 0)),
        )
        assert closed == [True], (
            f"expected no open connection once {ask_stream.name}() is left, found {self.open_connections()}: the "
            "vendor would go on, and charge; close its stream in a `finally` of yours"
        )

    def _nothing_is_open(self) -> None:
        if self.open_connections() is not None:
            assert becomes(lambda: self.open_connections() == 0), (
                f"expected no open connection to the vendor, found {self.open_connections()} after close(); {LEFT}"
            )


def _are_not_mixed(callers: str, found: list[str], expected: list[str]) -> None:
    wrong = [
        f"caller {number} got {content!r:.100} instead of {expected[number]!r:.100}"
        for number, content in enumerate(found)
        if content != expected[number]
    ]
    assert not wrong, (
        f"expected each of {len(expected)} {callers} to get the answer to its own question, found {wrong}; keep "
        "nothing of a request in the provider"
    )


def _read_slowly(way: Way, provider: ChatProvider, request: Request, seconds: float) -> list[StreamEvent]:
    """Read a stream, and wait after its first event."""
    if not way.is_async:
        events = iter(provider.stream(request))
        first = next(events)
        time.sleep(seconds)
        return [first, *events]

    async def read() -> list[StreamEvent]:
        stream: Any = provider.astream(request)
        async with aclosing(stream):
            first = await anext(stream)
            await asyncio.sleep(seconds)
            return [first] + [event async for event in stream]

    return asyncio.run(read())


def _numbered(number: int) -> Request:
    return replace(REQUEST, messages=(Message.user(f"{PROMPT} (caller {number})"),), timeout=30)


def _belongs_to_test(thread: threading.Thread) -> bool:
    return thread.name.startswith(("understudy-sandbox", "understudy-rule", "FaultServer"))


def _leave_early(way: Way, provider: ChatProvider, request: Request, then: Callable[[], object] = lambda: None) -> None:
    """Take the first event of a stream and go; the event loop still runs when `then` is called."""
    if not way.is_async:
        events = provider.stream(request)
        next(iter(events))
        close = getattr(events, "close", None)
        assert close is not None, "expected stream() to return a generator, which can be closed; found none"
        close()
        then()
        return

    async def leave() -> None:
        stream = provider.astream(request)
        async with aclosing(stream):  # type: ignore[type-var]  # what is not a generator fails here, as it should
            await anext(stream)
        await asyncio.to_thread(then)

    asyncio.run(leave())
