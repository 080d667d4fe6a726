"""A soak: many calls over both lanes in every way, whose descriptors, threads and memory must stay flat.

`nox -s soak -- --minutes 10 --calls 100000` (the defaults) ends with whichever is reached first. After a warm-up each
tenth of the run is measured, and a table is printed. The exit code is 1 where something grew, or an answer was wrong.
"""

import argparse
import asyncio
import gc
import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from understudy import Finish, LLMFactory, Policy, TextDelta
from understudy.errors import Failure
from understudy_sandbox import Sandbox, faults

LANES = ("sdk", "http")
NAMES = ("openai", "claude", "gemini", "cohere", "ollama")
THREADS, TASKS = 4, 4  # that ask at once, in each round
PARTS = 10  # of the run, each measured at its end
WARM = 0.2  # share of the calls, or of the time, before the first measurement: pools fill, modules are imported
FAILING = 5  # in one lap of so many each provider fails
KINDS = ("whole", "stream", "left stream", "async", "astream", "left astream", "cancelled", "failed over", "failed")
POLICIES = {"plain": Policy.patient(max_retries=0), "timed": Policy.eager(deadline=60, hedge_after=None)}
# What may be more at the end than after the warm-up. A leak of one object in a hundred calls is above them.
# Memory counts from the middle of the run on: the allocator takes its time to have what many calls at once need.
MOST_MORE = {"in use": 40, "descriptors": 2, "threads": 2, "memory": 3.0, "objects": 5_000}


def serve(pipe):
    """Run the stand-ins in a process of their own, so that only callers are measured, until the other end closes."""
    with Sandbox() as sandbox, suppress(EOFError):
        pipe.send({"well": sandbox.environment()})
        while True:
            name = pipe.recv()
            sandbox.reset()  # or what was asked would be kept
            if name is not None:
                sandbox[name].always(faults.server_error())
            pipe.send(None)


class Soak:
    """Makes the calls.

    Args:
        settings: where the stand-ins are.
        pipe: says which of them fails.
    """

    def __init__(self, settings, pipe):
        self.counts, self.wrong, self._pipe = Counter(), [], pipe
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._factories, self._alone_made = {}, {}
        for lane in LANES:
            lanes = {f"{name.upper()}_TRANSPORT": lane for name in NAMES}
            for place, name in enumerate(NAMES):
                other = NAMES[(place + 1) % len(NAMES)]
                for label, policy in POLICIES.items():
                    self._factories[lane, name, label] = LLMFactory(
                        name, [other], settings={**settings, **lanes}, policy=policy, extensions=[]
                    )

    def __len__(self):
        return len(self._factories)

    @property
    def calls(self):
        """How many there were."""
        return self.counts.total()

    def round(self, number):
        """Make calls in every way from some threads and tasks at once, for one provider, lane and policy."""
        lane, name, label = list(self._factories)[number % len(self._factories)]
        failing = number // len(self) % FAILING == FAILING - 1
        self._tell(name if failing else None)
        factory = self._factories[lane, name, label]
        threads = [threading.Thread(target=self._ask, args=(factory, failing)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        self._loop.run_until_complete(self._ask_on_the_loop(factory, failing))
        for thread in threads:
            thread.join()
        if number % 7 == 6:
            asyncio.run(self._ask_on_a_loop_of_its_own(factory))

    def close(self):
        """Close all connections; the next calls open others."""
        for factory in (*self._factories.values(), *self._alone_made.values()):
            self._loop.run_until_complete(factory.aclose())

    def end(self):
        """Close what was opened."""
        self.close()
        self._loop.close()

    def _tell(self, failing):
        self._pipe.send(failing)
        self._pipe.recv()

    def _count(self, kind, right, told):
        with self._lock:
            self.counts[kind] += 1
            if not right and len(self.wrong) < 20:
                self.wrong.append(f"{kind}: {told}"[:300])

    def _judge(self, kind, response, words, failing):
        self._count("failed over" if failing else kind, response.success and words in response.content, response)

    def _ask(self, factory, failing):
        words = f"thread {threading.get_ident()} says {self.calls}"
        self._judge("whole", factory.generate_content(words, temperature=None), words, failing)
        *_, end = factory.stream_content(words, temperature=None)
        self._judge("stream", end.response, words, failing)
        stream = factory.stream_content(words * 20, temperature=None)
        self._count("left stream", any(type(event) is TextDelta for event in stream), "no piece")
        stream.close()
        if not failing:
            return
        alone = self._alone(factory)
        response = alone.generate_content(words, temperature=None)
        self._count("failed", not response.success and isinstance(response.failure, Failure), response)

    def _alone(self, factory):
        """Return a factory without fallbacks on the provider of this one."""
        key = "alone", *next(key for key, one in self._factories.items() if one is factory)
        with self._lock:
            if key not in self._alone_made:
                provider = next(provider for _, provider in factory.route)
                self._alone_made[key] = LLMFactory(provider, [], settings={}, policy=POLICIES["plain"], extensions=[])
        return self._alone_made[key]

    async def _ask_on_the_loop(self, factory, failing):
        await asyncio.gather(*(self._ask_in_a_task(factory, failing, task) for task in range(TASKS)))

    async def _ask_in_a_task(self, factory, failing, task):
        words = f"task {task} says {self.calls}"
        self._judge("async", await factory.agenerate_content(words, temperature=None), words, failing)
        events = [event async for event in factory.astream_content(words, temperature=None)]
        right = type(events[-1]) is Finish
        self._judge("astream", events[-1].response, words, failing) if right else self._count("astream", False, events)
        stream = factory.astream_content(words * 20, temperature=None)
        event = await anext(stream)
        while type(event) is not TextDelta:
            event = await anext(stream)
        self._count("left astream", True, event)
        await stream.aclose()
        cancelled = asyncio.create_task(factory.agenerate_content(words * 20, temperature=None))
        for _ in range(task * 5):
            await asyncio.sleep(0)  # at another point of its way each time
        cancelled.cancel()
        [told] = await asyncio.gather(cancelled, return_exceptions=True)
        right = isinstance(told, asyncio.CancelledError) or getattr(told, "success", False)
        self._count("cancelled", right, told)

    async def _ask_on_a_loop_of_its_own(self, factory):
        words = f"a loop says {self.calls}"
        self._judge("async", await factory.agenerate_content(words, temperature=None), words, False)


def measure(soak):
    """Return what must stay flat: descriptors with the connections that are kept, the rest after these were closed."""
    in_use = len(os.listdir("/proc/self/fd"))
    soak.close()
    time.sleep(0.5)  # those of the loop in the background are closed a moment later
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {
        "in use": in_use,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "memory": resident,
        "objects": len(gc.get_objects()),
    }


def main():
    """Soak, print the table, and say whether it stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="at most so long (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=100_000, help="at most so many (default: %(default)s)")
    arguments = parser.parse_args()
    if not Path("/proc/self/fd").exists():
        sys.exit("expected Linux, where descriptors and memory are in /proc")
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    theirs.close()
    soak = Soak(ours.recv()["well"], ours)
    began, number, rows, next_part = time.monotonic(), 0, [], WARM
    while True:
        share = max(soak.calls / arguments.calls, (time.monotonic() - began) / (60 * arguments.minutes))
        warm = number >= FAILING * len(soak)
        if (warm and share >= next_part) or share >= 1:
            rows.append((soak.calls, measure(soak)))
            print(row_of(*rows[-1]), flush=True) if len(rows) > 1 else print_head(*rows[-1])
            next_part = max(share, next_part) + (1 - WARM) / PARTS
        if share >= 1:
            break
        soak.round(number)
        number += 1
    seconds = time.monotonic() - began
    soak.end()
    ours.close()
    process.join(60)
    process.close()
    print(
        f"\n{soak.calls:,} calls in {seconds:,.0f} s: " + ", ".join(f"{soak.counts[kind]:,} {kind}" for kind in KINDS)
    )
    return 1 if told_faults(rows, soak.wrong) else 0


def print_head(calls, first):
    """Print the head of the table and its first row."""
    print(f"{'calls':>9}  {'in use':>6}  {'descriptors':>11}  {'threads':>7}  {'MB resident':>11}  {'objects':>9}")
    print(row_of(calls, first), flush=True)


def row_of(calls, values):
    """Return a row of the table."""
    memory, objects = f"{values['memory']:.1f}", f"{values['objects']:,}"
    shown = f"{calls:>9,}  {values['in use']:>6}  {values['descriptors']:>11}  {values['threads']:>7}"
    return f"{shown}  {memory:>11}  {objects:>9}"


def told_faults(rows, wrong):
    """Print what is not as it must be; return whether something is not."""
    first, last = {**rows[0][1], "memory": rows[len(rows) // 2][1]["memory"]}, rows[-1][1]
    grown = [name for name, most in MOST_MORE.items() if last[name] - first[name] > most]
    for name in grown:
        print(f"not flat: {name} went from {first[name]:,.1f} to {last[name]:,.1f}; {MOST_MORE[name]} more are allowed")
    for words in wrong:
        print(f"wrong: {words}")
    if not grown and not wrong:
        print("flat")
    return bool(grown or wrong)


if __name__ == "__main__":
    sys.exit(main())
