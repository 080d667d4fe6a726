"""Sync calls on the background loop: results, context, interruptions, early ends, forks, the interpreter's exit."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar

import pytest

from understudy.concurrency import portal
from understudy.concurrency.threads import in_thread

place = ContextVar("place", default="nowhere")
FOREVER = 30
interruptible = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill") or signal.getsignal(signal.SIGINT) is not signal.default_int_handler,
    reason="expected POSIX and a SIGINT that interrupts, which a shell has ignored by what it runs in the background",
)


async def answer(value=42):
    await asyncio.sleep(0)
    return value


async def count(seen, end=5):
    try:
        for number in range(end):
            seen.append(number)
            yield number
            await asyncio.sleep(0)
    finally:
        seen.append(threading.current_thread().name)


def run_program(program, *flags):
    """Run a program in a Python of its own; return what it prints, and how long it took after it printed the time."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", f"import asyncio, os, threading, time\n{program}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    ended = time.time()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split()
    printed = next(line for line in lines if "." in line)
    lines.remove(printed)
    return lines, ended - float(printed)


def interrupt_soon():
    """Interrupt the main thread, as Ctrl-C does, a moment after the call in it was seen to have begun."""
    main = threading.main_thread().ident
    threading.Timer(0.05, lambda: signal.pthread_kill(main, signal.SIGINT)).start()


def test_the_result_comes_back():
    assert portal.run(answer) == 42
    assert list(portal.iterate(lambda: count([]))) == [0, 1, 2, 3, 4]


def test_an_error_comes_back_with_the_frames_of_who_raised_it():
    async def fail():
        await asyncio.sleep(0)
        raise LookupError("gone")

    async def fail_midway():
        yield 1
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone") as raised:
        portal.run(fail)
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert (names[0], names[-1]) == ("test_an_error_comes_back_with_the_frames_of_who_raised_it", "fail")
    assert "work" not in names
    with pytest.raises(LookupError, match="gone"):
        list(portal.iterate(fail_midway))
    with pytest.raises(TypeError):
        portal.run(lambda: 1)
    with pytest.raises(TypeError):
        list(portal.iterate(lambda: 1))


@pytest.mark.usefixtures("little_garbage")
def test_an_error_is_not_kept_alive():
    class Gone(Exception):
        pass

    async def fail():
        raise Gone

    def count_of_errors():
        return sum(type(one) is Gone for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        with pytest.raises(Gone):
            portal.run(fail)
        assert count_of_errors() == 0
    finally:
        gc.enable()


def test_the_callers_context_holds_and_its_changes_stay_inside():
    async def look():
        before = place.get()
        place.set("inside")
        return before

    async def look_at_each_step():
        yield place.get()
        place.set("inside")
        yield place.get(), asyncio.current_task()
        yield place.get(), asyncio.current_task()

    token = place.set("outside")
    try:
        assert portal.run(look) == "outside"
        steps = portal.iterate(look_at_each_step)
        assert next(steps) == "outside"
        place.set("elsewhere")
        (second, task), (third, same) = steps
        assert (second, third) == ("inside", "inside")
        assert task is same
        assert place.get() == "elsewhere"
    finally:
        place.reset(token)


def test_a_timeout_may_span_the_steps_of_an_iteration():
    async def patient():
        async with asyncio.timeout(None) as limit:
            yield 1
            yield 2
            limit.reschedule(asyncio.get_running_loop().time() + 0.01)
            await asyncio.sleep(FOREVER)

    steps = portal.iterate(patient)
    assert (next(steps), next(steps)) == (1, 2)
    with pytest.raises(TimeoutError):
        next(steps)


def test_nothing_is_read_before_it_is_asked_for():
    seen = []
    steps = portal.iterate(lambda: count(seen))
    assert seen == []
    for number in range(3):
        assert next(steps) == number
        portal.run(answer)  # the loop has had time to read on
        assert seen == list(range(number + 1))
    steps.close()
    assert seen == [0, 1, 2, "understudy"]


def test_closing_early_raises_what_cleaning_up_raises():
    async def untidy():
        try:
            yield 1
        finally:
            raise LookupError("untidy")

    steps = portal.iterate(untidy)
    assert next(steps) == 1
    with pytest.raises(LookupError, match="untidy"):
        steps.close()


@pytest.mark.usefixtures("little_garbage")
def test_an_iteration_that_is_dropped_is_closed(monkeypatch):
    monkeypatch.setattr(portal, "PATIENCE", FOREVER)
    seen = []
    next(portal.iterate(lambda: count(seen)))
    gc.collect()
    assert seen == [0, "understudy"]

    async def drop_on_the_loop():
        del held[:]
        gc.collect()

    held = [portal.iterate(lambda: count(seen))]
    next(held[0])
    began = time.monotonic()
    portal.run(drop_on_the_loop)  # which must not wait for itself
    portal.run(answer)
    assert time.monotonic() - began < FOREVER
    assert seen[-2:] == [0, "understudy"]


@interruptible
def test_an_interruption_cancels_the_call():
    ended = []

    async def hang():
        interrupt_soon()
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            ended.append(threading.current_thread().name)

    with pytest.raises(KeyboardInterrupt):
        portal.run(hang)
    assert ended == ["understudy"]


@interruptible
def test_an_interruption_cancels_the_step():
    seen = []

    async def hang():
        async for number in count(seen, 1):
            yield number
        interrupt_soon()
        try:
            await asyncio.sleep(FOREVER)
        finally:
            seen.append("cancelled")

    with pytest.raises(KeyboardInterrupt):
        list(portal.iterate(hang))
    assert seen == [0, "understudy", "cancelled"]


@interruptible
def test_an_interruption_is_not_held_up_for_long(monkeypatch):
    monkeypatch.setattr(portal, "PATIENCE", 0.1)
    free, ended = asyncio.Event(), threading.Event()

    async def stubborn():
        interrupt_soon()
        while not free.is_set():
            with suppress(asyncio.CancelledError):
                await free.wait()
        ended.set()

    async def let_go():
        free.set()

    with pytest.raises(KeyboardInterrupt):
        portal.run(stubborn)
    assert not ended.is_set()
    portal.run(let_go)
    assert ended.wait(FOREVER)


def test_many_threads_at_once():
    waiting, all_there = [], asyncio.Event()

    async def wait(number):
        waiting.append(number)
        if len(waiting) == 50:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), FOREVER)
        return number

    def use(number):
        return portal.run(lambda: wait(number)), list(portal.iterate(lambda: count([], number)))

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(use, range(50))) == [(number, list(range(number))) for number in range(50)]
    assert [thread.name for thread in threading.enumerate()].count("understudy") == 1


def test_a_sync_call_on_the_background_loop_takes_another_loop():
    async def nested(depth):
        if depth == 0:
            return threading.current_thread().name
        if depth % 2:
            return portal.run(lambda: nested(depth - 1))
        return await in_thread(portal.run, lambda: nested(depth - 1))

    async def nested_iteration():
        for number in portal.iterate(lambda: count([])):
            yield number, portal.run(answer)

    assert portal.run(lambda: nested(5)) == "understudy"
    assert list(portal.iterate(nested_iteration)) == [(number, 42) for number in range(5)]
    assert not any(one.blocked for one in portal._backgrounds.values())


def test_two_loops_never_wait_for_each_other(monkeypatch):
    chosen = threading.Barrier(2)

    class Call(portal._Call):
        def __init__(self, background, function):
            super().__init__(background, function)
            if threading.get_ident() in portal._backgrounds and not chosen.broken:
                chosen.wait(60)  # both have a loop to wait for, and neither waits for it yet

    async def nested():
        return portal.run(answer)

    first, second = portal._free(), portal._Background()
    portal._backgrounds[second.ident] = second
    monkeypatch.setattr(portal, "_Call", Call)
    both = [asyncio.run_coroutine_threadsafe(nested(), one.loop) for one in (first, second)]
    assert [one.result(60) for one in both] == [42, 42]


def test_the_loop_survives_what_ends_loops():
    async def leave():
        raise SystemExit(3)

    async def in_a_task():
        await asyncio.create_task(leave())

    for function in (leave, in_a_task):
        with pytest.raises(SystemExit):
            portal.run(function)
    assert portal.run(answer) == 42


def test_what_the_loop_does_in_threads_never_runs_out_of_them():
    free = threading.Event()

    async def look_up():
        loop = asyncio.get_running_loop()
        hanging = [loop.run_in_executor(None, free.wait, FOREVER) for _ in range(60)]
        assert await loop.run_in_executor(None, lambda: 42) == 42
        with pytest.raises(LookupError):
            await loop.run_in_executor(None, {}.__getitem__, 1)
        free.set()
        return await asyncio.gather(*hanging)

    assert portal.run(look_up) == [True] * 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="expected POSIX, found no os.fork")
def test_a_forked_process_has_a_loop_of_its_own():
    lines, _ = run_program(
        """
import warnings; warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads and forks
from understudy.concurrency import portal
from understudy.concurrency.threads import in_thread
async def where(): return asyncio.get_running_loop(), await in_thread(os.getpid)
async def count():
    yield 1
    yield 2
steps = portal.iterate(count)
next(steps)
loop, pid = portal.run(where)
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    assert portal.run(where) == (loop, pid) and next(steps) == 2
else:
    own, child = portal.run(where)
    assert own is not loop and child != pid and loop.is_closed() and not own.is_closed()
    steps.close()
    print("child", flush=True)
    os._exit(0)
print(time.time())
"""
    )
    assert lines == ["child"]


LEAVE_WORK_BEHIND = """
from understudy.concurrency import portal
from understudy.concurrency.threads import in_thread
async def hang():
    await asyncio.sleep(3600)
async def stubborn():
    while True:
        try: await asyncio.sleep(3600)
        except asyncio.CancelledError: pass
async def in_another_thread():
    await in_thread(time.sleep, 3600)
async def look_up():
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
async def count():
    yield 1
    await asyncio.sleep(3600)
async def leave_behind():
    asyncio.create_task(stubborn())
    generators.append(count())
    await anext(generators[0])
generators = []
for function in (hang, in_another_thread, look_up):
    threading.Thread(target=portal.run, args=(function,), daemon=True).start()
threading.Thread(target=list, args=(portal.iterate(count),), daemon=True).start()
steps = portal.iterate(count)
next(steps)
portal.run(leave_behind)
time.sleep(0.1)
print(time.time())
"""


def test_the_exit_is_quiet_and_waits_for_nothing_that_is_left():
    run_program(LEAVE_WORK_BEHIND, *("-X", "dev", "-W", "error"))


@pytest.mark.timing
def test_the_exit_is_quick_whatever_is_left():
    _, seconds = run_program(LEAVE_WORK_BEHIND)
    assert seconds < portal.PATIENCE + 0.5


def test_the_exit_takes_no_time_where_nothing_hangs():
    lines, seconds = run_program(
        """
import atexit
async def answer(text):
    print(text, flush=True)
async def hang():
    await asyncio.sleep(30)
@atexit.register
def after_the_portal():
    try:
        portal.run(lambda: answer("after"))
    except RuntimeError as error:  # Python 3.12 starts no thread then
        print(*str(error).split()[:1])
from understudy.concurrency import portal
portal.PATIENCE = 60
atexit.register(lambda: portal.run(lambda: answer("before")))
threading.Thread(target=portal.run, args=(hang,), daemon=True).start()
portal.run(lambda: answer("once"))
print(time.time(), flush=True)
""",
        *("-X", "dev", "-W", "error"),
    )
    assert lines in (["once", "before", "after"], ["once", "before", "can't"])
    assert seconds < 60
