"""What every worker does: read commands as lines of JSON, play a row with its library, and tell what that cost.

    {"play": row}    {"cpu": s, "wall": s, "peak": bytes or null}     the whole turn, all threads of the process
                     {"failure": what}                                it cannot play this row

A row is {"way": "sync", "async" or "threads", "stream": bool, "manner": of the primary, "calls": n, "at_once": bool,
"prompt": characters, "answer": the right one, "warm": calls to make before the clock starts}.

    python with_LIBRARY.py warm VARIANT URL            plays rows until the input ends
    python with_LIBRARY.py sync|async VARIANT URL      {"cpu": s, "peak": bytes or null, "text": ...}

The second asks once and tells what the process has cost until then, from its start.

A worker runs in the environment of its library, of which this file needs nothing: standard library alone. What takes
long to import is imported where it is needed, so that a cold answer has only what its library needs.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

QUESTION = "Why is the sky blue? "
MODEL, BACKUP_MODEL = "gpt-4.1", "gpt-4.1-mini"
MAX_TOKENS = 1024


class Setting(NamedTuple):
    """How a library is to be set up.

    Args:
        variant: for Understudy the lane and the preset, such as "http patient"; nothing for the others.
        primary: the URL of the primary, with /v1.
        backup: that of the backup.
        insists: whether each call shall ask the primary first, though it has failed so often.
    """

    variant: str
    primary: str
    backup: str
    insists: bool


class Library(Protocol):
    """A library with a primary and a backup, both OpenAI's chat completions."""

    def ask(self, prompt: str) -> str:
        """Return the whole answer."""

    def stream(self, prompt: str) -> Iterator[str]:
        """Give the answer in pieces."""

    async def aask(self, prompt: str) -> str:
        """Return the whole answer, on the running event loop."""

    def astream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces, on the running event loop."""


class Worker:
    """Plays rows, with a library for each manner of the primary."""

    def __init__(self, make: Callable[[Setting], Library], variant: str, url: str) -> None:
        self.make, self.variant, self.url = make, variant, url
        self.libraries: dict[str, Library] = {}
        self.runner: asyncio.Runner | None = None
        self.pool: ThreadPoolExecutor | None = None

    def library(self, manner: str) -> Library:
        """Return the library whose primary has this manner."""
        if manner not in self.libraries:
            primary, backup = f"{self.url}/primary/{manner}/v1", f"{self.url}/backup/well/v1"
            self.libraries[manner] = self.make(Setting(self.variant, primary, backup, manner == "limited"))
        return self.libraries[manner]

    def play(self, row: dict[str, Any]) -> dict[str, Any]:
        """Play a row once, and return what it cost."""
        library = self.library(row["manner"])
        prompt = (QUESTION * (row["prompt"] // len(QUESTION) + 1))[: row["prompt"]]
        for _ in range(row["warm"]):
            self.turn(library, row, prompt, row["calls"] if row["at_once"] and not row["stream"] else 1)
        gc.collect()
        _forget_peak()
        cpu, wall = cpu_seconds(), time.perf_counter()
        texts = self.turn(library, row, prompt, row["calls"])
        spent = {"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall, "peak": _peak()}
        wrong = [text for text in texts if text != row["answer"]]
        if wrong:
            raise ValueError(f"expected {row['answer'][:40]!r}..., found {wrong[0][:80]!r} ({len(wrong)} of them)")
        return spent

    def turn(self, library: Library, row: dict[str, Any], prompt: str, calls: int) -> list[str]:
        """Make the calls of a turn, and return their texts."""
        if row["way"] == "async":
            if self.runner is None:
                from asyncio import Runner

                self.runner = Runner()
            one = aread if row["stream"] else _aask
            return self.runner.run(_async_turn(one, library, prompt, calls, at_once=row["at_once"]))
        call = read if row["stream"] else _ask
        if row["way"] == "sync":
            return [call(library, prompt) for _ in range(calls)]
        if self.pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self.pool = ThreadPoolExecutor(calls)
        return list(self.pool.map(lambda _: call(library, prompt), range(calls)))


def _ask(library: Library, prompt: str) -> str:
    return library.ask(prompt)


async def _aask(library: Library, prompt: str) -> str:
    return await library.aask(prompt)


def read(library: Library, prompt: str) -> str:
    """Read a stream to its end."""
    return "".join(library.stream(prompt))


async def aread(library: Library, prompt: str) -> str:
    """Read a stream to its end."""
    return "".join([piece async for piece in library.astream(prompt)])


async def _async_turn(one: Any, library: Library, prompt: str, calls: int, *, at_once: bool) -> list[str]:
    if at_once:
        import asyncio

        return list(await asyncio.gather(*(one(library, prompt) for _ in range(calls))))
    return [await one(library, prompt) for _ in range(calls)]


def cpu_seconds() -> float:
    """Return the CPU time of this process so far: user and system, all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _forget_peak() -> None:
    """Let the peak of memory begin at what is used now, where the system can do that."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def _peak() -> int | None:
    """Return the peak of memory in bytes, where the system tells it."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def work(make: Callable[[Setting], Library], *distributions: str) -> None:
    """Run as a worker until the input ends, or ask once.

    Args:
        make: sets the library up.
        distributions: whose versions are told.
    """
    descriptor = os.dup(1)  # the library may print what it likes: that goes where errors go
    os.dup2(2, 1)

    def tell(what: dict[str, Any]) -> None:
        os.write(descriptor, (json.dumps(what) + "\n").encode())

    kind, variant, url = sys.argv[1:4]
    if kind != "warm":
        library = Worker(make, variant, url).library("well")
        if kind == "sync":
            text = library.ask(QUESTION)
        else:
            from asyncio import run

            text = run(_aask(library, QUESTION))
        tell({"cpu": cpu_seconds(), "peak": _peak(), "text": text})
        os._exit(0)  # how it ends is not measured
    from importlib.metadata import version

    worker = Worker(make, variant, url)
    tell({"versions": {name: version(name) for name in distributions}})
    for line in sys.stdin:
        try:
            tell(worker.play(json.loads(line)["play"]))
        except Exception as error:
            tell({"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
    os._exit(0)  # threads of a library must not keep the process
