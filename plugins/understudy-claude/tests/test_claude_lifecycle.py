"""What the contract (tests/test_conformance.py at the root) does not ask of clients, event loops and threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from understudy import Message, Request
from understudy_claude import ClaudeProvider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

REQUEST = Request(messages=(Message.user("Hello there, how are you today?"),), timeout=5)


def _becomes_true(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 3
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_a_run_of_the_whole_life_leaves_no_warning_and_holds_up_no_event_loop(sandbox: Sandbox, lane: str) -> None:
    program = f"""
import asyncio
from contextlib import aclosing
from understudy import Message, Request, Settings
from understudy_claude import ClaudeProvider
request = Request(messages=(Message.user("Hello"),), timeout=30)
provider = ClaudeProvider(Settings(environment={ ({**sandbox.environment(), "CLAUDE_TRANSPORT": lane})!r}))
async def load():
    ticks, answer = 0, asyncio.create_task(provider.agenerate(request))
    while not answer.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert (await answer).success
    assert ticks > 5, f"the event loop turned {{ticks}} times while the SDK was loaded"
async def both():
    await asyncio.gather(provider.agenerate(request), provider.agenerate(request))
    async with aclosing(provider.astream(request)) as events:
        await anext(events)
asyncio.run(load())
for _ in range(2):
    assert provider.generate(request).success
    asyncio.run(both())
    provider.close()
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


def test_event_loops_at_the_same_time(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    async def ask_three() -> bool:
        responses = await asyncio.gather(*(provider.agenerate(REQUEST) for _ in range(3)))
        return all(response.success for response in responses)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: asyncio.run(ask_three()), range(4)))
    assert sandbox.claude.request_count == 12


def test_one_event_loop_keeps_its_connection(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    async def ask_twice() -> None:
        await provider.agenerate(REQUEST)
        await provider.agenerate(REQUEST)

    asyncio.run(ask_twice())
    assert (sandbox.claude.request_count, sandbox.claude.connection_count) == (2, 1)


def test_threads_share_one_client(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    barrier = threading.Barrier(8)

    def ask(_: int) -> bool:
        barrier.wait(10)
        return all(provider.generate(REQUEST).success for _ in range(2))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert sandbox.claude.request_count == 16
    assert sandbox.claude.connection_count <= 8


def test_aclose_closes_this_loops_connections_and_all_others(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    async def live_twice() -> None:
        for _ in range(2):
            assert (await provider.agenerate(REQUEST)).success
            provider.generate(REQUEST)
            assert sandbox.claude.open_connections == 2
            await provider.aclose()
            await provider.aclose()
            assert _becomes_true(lambda: sandbox.claude.open_connections == 0)

    asyncio.run(live_twice())


def test_close_from_another_thread_closes_a_running_loops_connections(
    sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    async def ask_and_wait() -> None:
        await provider.agenerate(REQUEST)
        await asyncio.to_thread(provider.close)
        assert await asyncio.to_thread(_becomes_true, lambda: sandbox.claude.open_connections == 0)

    asyncio.run(ask_and_wait())


def test_a_loop_that_stands_still_is_closed_too(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(provider.agenerate(REQUEST))
        assert sandbox.claude.open_connections == 1
        provider.close()
        assert _becomes_true(lambda: sandbox.claude.open_connections == 0)
    finally:
        loop.close()


def test_aclose_has_another_loop_close_its_own_when_it_goes_on(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(provider.agenerate(REQUEST))
        asyncio.run(provider.aclose())
        loop.run_until_complete(asyncio.sleep(0.05))
        assert _becomes_true(lambda: sandbox.claude.open_connections == 0)
    finally:
        loop.close()
