"""Clients come late, serve many threads and event loops, and go when they are told to."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from understudy import Message, Request
from understudy_cohere import CohereProvider
from understudy_sandbox import faults

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

REQUEST = Request(messages=(Message.user("Hello there, how are you today?"),), timeout=5)


def _becomes_true(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 3
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_making_a_provider_loads_no_sdk() -> None:
    program = (
        "import sys; from understudy import Settings, Request, Message; import understudy_cohere as package; "
        "import understudy_cohere.wire, understudy_cohere.failures, understudy_cohere.models; "
        "provider = package.understudy_provider(Settings(environment={'COHERE_API_KEY': 'not-a-real-key'})); "
        "assert provider.is_available(); provider.close(); "
        "loaded = {'cohere', 'httpx', 'pydantic'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=30)


def test_a_run_of_the_whole_life_leaves_no_warning(sandbox: Sandbox) -> None:
    program = f"""
import asyncio
from contextlib import aclosing
from understudy import Message, Request, Settings
from understudy_cohere import CohereProvider
request = Request(messages=(Message.user("Hello"),), timeout=30)
provider = CohereProvider(Settings(environment={sandbox.environment()!r}))
async def both():
    await asyncio.gather(provider.agenerate(request), provider.agenerate(request))
    async with aclosing(provider.astream(request)) as events:
        await anext(events)
for _ in range(2):
    assert provider.generate(request).success
    asyncio.run(both())
    provider.close()
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert done.stderr == ""


def test_two_event_loops_one_after_the_other_close_their_connections(
    sandbox: Sandbox, provider: CohereProvider
) -> None:
    for _ in range(2):
        assert asyncio.run(provider.agenerate(REQUEST)).success
        assert _becomes_true(lambda: sandbox.cohere.open_connections == 0)
    gc.collect()
    assert sandbox.cohere.request_count == 2


def test_event_loops_at_the_same_time(sandbox: Sandbox, provider: CohereProvider) -> None:
    async def ask_three() -> bool:
        responses = await asyncio.gather(*(provider.agenerate(REQUEST) for _ in range(3)))
        return all(response.success for response in responses)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: asyncio.run(ask_three()), range(4)))
    assert sandbox.cohere.request_count == 12


def test_one_event_loop_keeps_its_connection(sandbox: Sandbox, provider: CohereProvider) -> None:
    async def ask_twice() -> None:
        await provider.agenerate(REQUEST)
        await provider.agenerate(REQUEST)

    asyncio.run(ask_twice())
    assert (sandbox.cohere.request_count, sandbox.cohere.connection_count) == (2, 1)


def test_threads_share_one_client(sandbox: Sandbox, provider: CohereProvider) -> None:
    barrier = threading.Barrier(8)

    def ask(_: int) -> bool:
        barrier.wait(10)
        return all(provider.generate(REQUEST).success for _ in range(5))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert sandbox.cohere.request_count == 40
    assert sandbox.cohere.connection_count <= 8


def test_close_closes_and_the_next_request_opens_again(sandbox: Sandbox, provider: CohereProvider) -> None:
    for _ in range(2):
        assert provider.generate(REQUEST).success
        assert sandbox.cohere.open_connections == 1
        provider.close()
        provider.close()
        assert _becomes_true(lambda: sandbox.cohere.open_connections == 0)


def test_aclose_closes_this_loops_connections_and_all_others(sandbox: Sandbox, provider: CohereProvider) -> None:
    async def live_twice() -> None:
        for _ in range(2):
            assert (await provider.agenerate(REQUEST)).success
            provider.generate(REQUEST)
            assert sandbox.cohere.open_connections == 2
            await provider.aclose()
            await provider.aclose()
            assert _becomes_true(lambda: sandbox.cohere.open_connections == 0)

    asyncio.run(live_twice())


def test_close_from_another_thread_closes_a_running_loops_connections(
    sandbox: Sandbox, provider: CohereProvider
) -> None:
    async def ask_and_wait() -> None:
        await provider.agenerate(REQUEST)
        await asyncio.to_thread(provider.close)
        assert await asyncio.to_thread(_becomes_true, lambda: sandbox.cohere.open_connections == 0)

    asyncio.run(ask_and_wait())


def test_a_loop_that_stands_still_is_closed_too(sandbox: Sandbox, provider: CohereProvider) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(provider.agenerate(REQUEST))
        assert sandbox.cohere.open_connections == 1
        provider.close()
        assert _becomes_true(lambda: sandbox.cohere.open_connections == 0)
    finally:
        loop.close()


def test_aclose_has_another_loop_close_its_own_when_it_goes_on(sandbox: Sandbox, provider: CohereProvider) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(provider.agenerate(REQUEST))
        asyncio.run(provider.aclose())
        loop.run_until_complete(asyncio.sleep(0.05))
        assert _becomes_true(lambda: sandbox.cohere.open_connections == 0)
    finally:
        loop.close()


def test_the_event_loop_goes_on_while_the_sdk_is_loaded(sandbox: Sandbox) -> None:
    program = f"""
import asyncio, time
from understudy import Message, Request, Settings
from understudy_cohere import CohereProvider
provider = CohereProvider(Settings(environment={sandbox.environment()!r}))
async def count():
    ticks = 0
    answer = asyncio.create_task(provider.agenerate(Request(messages=(Message.user("Hello"),), timeout=5)))
    while not answer.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert (await answer).success
    assert ticks > 5, ticks
asyncio.run(count())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# ---- consumers who stop early ----


def test_a_stream_left_early_closes_its_connection(sandbox: Sandbox, provider: CohereProvider) -> None:
    sandbox.cohere.always(faults.stall(after=1, seconds=30))
    events = provider.stream(REQUEST)
    next(events)
    assert sandbox.cohere.open_connections == 1
    events.close()  # type: ignore[attr-defined]  # a generator behind its Iterator
    assert _becomes_true(lambda: sandbox.cohere.open_connections == 0)


def test_an_async_stream_left_early_closes_its_connection(sandbox: Sandbox, provider: CohereProvider) -> None:
    sandbox.cohere.always(faults.stall(after=1, seconds=30))

    async def leave() -> None:
        events = provider.astream(REQUEST)
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]  # a generator behind its AsyncIterator
        assert await asyncio.to_thread(_becomes_true, lambda: sandbox.cohere.open_connections == 0)

    asyncio.run(leave())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_call_closes_its_connection(streamed: bool, sandbox: Sandbox, provider: CohereProvider) -> None:
    sandbox.cohere.always(faults.stall(after=1, seconds=30))

    async def ask() -> None:
        if not streamed:
            await provider.agenerate(REQUEST)
        async for _ in provider.astream(REQUEST):
            pass

    async def cancel() -> None:
        task = asyncio.create_task(ask())
        assert await asyncio.to_thread(_becomes_true, lambda: sandbox.cohere.request_count == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(_becomes_true, lambda: sandbox.cohere.open_connections == 0)

    asyncio.run(cancel())
