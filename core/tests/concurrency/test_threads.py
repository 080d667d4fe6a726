"""Blocking calls in daemon threads: results, context, and being left behind."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from contextvars import ContextVar

import pytest

from understudy import ChatProvider, Message, Request, TextDelta
from understudy.concurrency import threads
from understudy.concurrency.threads import in_thread

place = ContextVar("place", default="nowhere")
FOREVER = 30


def raise_it(error):
    raise error


def test_result_error_and_context_come_back():
    async def use():
        assert await in_thread(divmod, 7, 2) == (3, 1)
        place.set("outside")
        assert await in_thread(place.get) == "outside"
        await in_thread(place.set, "inside")
        assert place.get() == "outside"
        with pytest.raises(LookupError) as raised:
            await in_thread(raise_it, LookupError("gone"))
        assert [frame.name for frame in raised.traceback] == ["use", "in_thread", "raise_it"]
        with pytest.raises(RuntimeError, match="StopIteration"):  # which no coroutine can raise
            await in_thread(next, iter(()))

    asyncio.run(use())


@pytest.mark.usefixtures("little_garbage")
def test_what_hangs_takes_no_place_and_is_dropped(caplog):
    free, done = threading.Event(), []

    def hang(number):
        free.wait(FOREVER)
        done.append(number)
        raise LookupError("too late")

    async def use():
        asyncio.get_running_loop().slow_callback_duration = FOREVER  # a busy machine is no matter of this test's
        hanging = [asyncio.wait_for(in_thread(hang, number), 0.05) for number in range(50)]
        assert {type(one) for one in await asyncio.gather(*hanging, return_exceptions=True)} == {TimeoutError}
        assert await in_thread(lambda: 42) == 42
        assert done == []
        free.set()
        while len(done) < 50:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)

    asyncio.run(use(), debug=True)
    gc.collect()
    assert caplog.text == ""


def test_threads_are_used_again_and_few_are_kept():
    async def use():
        names = {await in_thread(lambda: threading.current_thread().ident) for _ in range(20)}
        assert len(names) <= 3
        barrier = threading.Barrier(2 * threads.MOST_IDLE)
        await asyncio.gather(*(in_thread(barrier.wait, FOREVER) for _ in range(barrier.parties)))

    asyncio.run(use())
    latest = time.monotonic() + FOREVER
    while (left := [one.name for one in threading.enumerate()].count("understudy-worker")) > threads.MOST_IDLE:
        assert time.monotonic() < latest, left
        time.sleep(0.01)


@pytest.mark.usefixtures("little_garbage")
def test_an_idle_thread_holds_nothing():
    class Heavy:
        pass

    async def use():
        heavy = Heavy()
        await in_thread(id, heavy)
        return weakref.ref(heavy)

    kept = asyncio.run(use())
    time.sleep(0.01)
    gc.collect()
    assert kept() is None


def test_a_result_for_a_closed_loop_is_dropped():
    free, done = threading.Event(), threading.Event()

    def hang():
        free.wait(FOREVER)
        done.set()

    async def use():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_thread(hang), 0.01)

    asyncio.run(use())  # and the loop does not wait for the thread when it closes
    free.set()
    assert done.wait(FOREVER)


def test_a_stream_given_up_at_once_does_not_wait_for_its_piece():
    free, closed = threading.Event(), threading.Event()

    class Hanging(ChatProvider):
        def generate(self, request):
            raise NotImplementedError

        def stream(self, request):
            try:
                yield TextDelta("first")
                free.wait(FOREVER)
            finally:
                closed.set()

        def get_provider_name(self):
            return "hanging"

    async def use():
        events = Hanging().astream(Request(messages=(Message.user("hello"),)))
        assert await anext(events) == TextDelta("first")
        asking = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)  # begun, and no more
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asking, FOREVER)  # what hangs is not waited for: it is not free yet

    asyncio.run(use())
    free.set()
    assert closed.wait(FOREVER)


def test_what_hangs_does_not_hold_up_the_exit():
    program = """
import asyncio, time
from understudy.concurrency.threads import in_thread
async def use():
    await asyncio.wait_for(in_thread(time.sleep, 3600), 0.05)
try: asyncio.run(use())
except TimeoutError: print("left", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
