"""What the contract (tests/test_conformance.py at the root) does not ask of clients, event loops and threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from understudy import Message, Request
from understudy_cohere import CohereProvider

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

REQUEST = Request(messages=(Message.user("Hello there, how are you today?"),), timeout=5)


def test_a_run_of_the_whole_life_leaves_no_warning_and_holds_up_no_event_loop(sandbox: Sandbox) -> None:
    program = f"""
import asyncio
from contextlib import aclosing
from understudy import Message, Request, Settings
from understudy_cohere import CohereProvider
request = Request(messages=(Message.user("Hello"),), timeout=30)
provider = CohereProvider(Settings(environment={sandbox.environment()!r}))
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
        return all(provider.generate(REQUEST).success for _ in range(2))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert sandbox.cohere.request_count == 16
    assert sandbox.cohere.connection_count <= 8
