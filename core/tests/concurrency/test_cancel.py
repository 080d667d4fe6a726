"""A time limit for blocks of code on an event loop: one timer serves many."""

import asyncio

import pytest

from understudy.concurrency.cancel import CancelScope
from understudy.concurrency.out_of_time import OutOfTime

LONG = 600.0  # seconds: nothing here waits for it


def on_loop(blocks):
    """Run a coroutine function with a scope for several blocks; return how many timers it set."""
    timers = []

    async def main():
        loop = asyncio.get_running_loop()
        at, loop.call_at = loop.call_at, lambda when, *more, **named: timers.append(when) or at(when, *more, **named)
        scope = CancelScope(again=True)
        try:
            await blocks(scope)
        finally:
            scope.close()
            loop.call_at = at
        assert scope._timer is None

    asyncio.run(main())
    return len(timers)


def test_blocks_of_one_scope_share_a_timer():
    async def blocks(scope):
        for _ in range(50):
            scope.seconds = LONG
            with scope:
                await asyncio.sleep(0)

    assert on_loop(blocks) == 1


def test_a_shorter_block_is_not_left_to_a_longer_one_s_timer():
    async def blocks(scope):
        scope.seconds = LONG
        with scope:
            await asyncio.sleep(0)
        scope.seconds = 0.01
        with pytest.raises(OutOfTime), scope:
            await asyncio.Event().wait()
        scope.seconds = LONG
        with scope:  # and the next one begins anew
            await asyncio.sleep(0)

    on_loop(blocks)


def test_a_timer_that_fires_between_two_blocks_or_early_for_the_second_cancels_nothing():
    async def blocks(scope):
        scope.seconds = 0.01
        with scope:
            pass
        timer = scope._timer
        scope.seconds = LONG
        with scope:
            timer._run()  # that of the first block comes due
            await asyncio.sleep(0)
        scope._timer._run()
        await asyncio.sleep(0)

    on_loop(blocks)


def test_what_is_slow_to_clean_up_is_cancelled_again():
    cancelled = []

    async def slowly_cleaned_up():
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(asyncio.current_task().cancelling())

    async def blocks(scope):
        scope.seconds = 0.0
        with pytest.raises(OutOfTime), scope:
            await slowly_cleaned_up()

    on_loop(blocks)
    assert cancelled == [2]


def test_a_cancellation_from_outside_is_not_taken_for_the_limit():
    async def main():
        scope = CancelScope(LONG)

        async def block():
            with scope:
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
