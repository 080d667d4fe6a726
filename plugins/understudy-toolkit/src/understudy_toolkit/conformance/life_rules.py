"""Rules of the contract: threads, event loops, closing, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace

import pytest

from understudy.messages import Message, Request
from understudy.provider import ChatProvider
from understudy_toolkit.conformance import asking
from understudy_toolkit.conformance.asking import PROMPT, REQUEST, WAYS, Way, becomes, unclosed
from understudy_toolkit.conformance.setup import ContractSetup

THREADS = 16
LEFT = "close clients in close(); understudy_toolkit.clients.Clients does it for every thread and event loop"


class LifeRules(ContractSetup):
    """A provider's whole life."""

    def test_sixteen_threads_can_ask_at_once(self, provider: ChatProvider) -> None:
        self.arrange("text")
        echoes = PROMPT in WAYS[0](provider, REQUEST).content
        barrier = threading.Barrier(THREADS)

        def ask(number: int) -> str | None:
            request = _numbered(number)
            barrier.wait(30)
            content = provider.generate(request).content
            mixed = echoes and f"(caller {number})" not in content
            return f"caller {number} got {content!r:.100}" if mixed or not content else None

        with ThreadPoolExecutor(THREADS) as pool:
            wrong = [found for found in pool.map(ask, range(THREADS)) if found]
        assert not wrong, (
            f"expected each of {THREADS} threads to get the answer to its own question, found {wrong}; keep nothing of "
            "a request in the provider"
        )

    def test_sixteen_tasks_can_ask_at_once(self, provider: ChatProvider) -> None:
        self.arrange("text")
        echoes = PROMPT in WAYS[0](provider, REQUEST).content

        async def ask_all() -> list[str]:
            answers = await asyncio.gather(*(provider.agenerate(_numbered(number)) for number in range(THREADS)))
            return [answer.content for answer in answers]

        contents = asyncio.run(ask_all())
        wrong = [
            text for number, text in enumerate(contents) if not text or (echoes and f"(caller {number})" not in text)
        ]
        assert not wrong, f"expected each of {THREADS} tasks to get the answer to its own question, found {wrong}"

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


def _numbered(number: int) -> Request:
    return replace(REQUEST, messages=(Message.user(f"{PROMPT} (caller {number})"),), timeout=30)


def _belongs_to_test(thread: threading.Thread) -> bool:
    return thread.name.startswith(("understudy-sandbox", "FaultServer"))


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
        async with aclosing(stream):  # type: ignore[type-var]  # what is no generator fails here, as it should
            await anext(stream)
        await asyncio.to_thread(then)

    asyncio.run(leave())
