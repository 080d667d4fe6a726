"""What every driver does: read commands as lines of JSON, call the library, and tell what came of it.

    {"do": "make", "variant": ..., "options": {...}, "primary": URL, "backup": URL, "timeout": s or null,
     "max_tokens": n or null, "usage": bool, "open_for": s or null, "recover": bool}
        {"made": {"opens_for": s or null, "recovers": bool}}     the library is set up anew, and knows nothing yet
    {"do": "ask", "turn": n, "stream": bool, "times": n, "at_once": bool, "every": s or null}
     (what is told of it bears the same "turn")
        {"answer": {"seconds": s, "text": ..., "failure": type or null, "detail": ..., "finish": reason of a stream,
                    "restarts": n, "model": name or null, "usage": whether tokens were told}}, n times
        {"done": true}
        {"broken": how}                                          asking was cancelled, or ended as no caller expects
    {"do": "cancel"}
        {"cancelled": true}                                      what was being asked is given up

A driver runs in the environment of its library, of which this file needs nothing: standard library alone.
"""

import asyncio
import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

PROMPT = "Count to twelve."
PRIMARY_MODEL, BACKUP_MODEL = "model-under-test", "model-of-the-backup"


@dataclass
class Setting:
    """How the library is to be set up."""

    variant: str  # "defaults" or "tuned"; for Understudy the name of a preset, with or without "tuned"
    options: dict[str, Any]  # what else this arrangement needs; the driver knows it
    primary: str  # URL, without /v1
    backup: str
    timeout: float | None  # seconds for one attempt, and to the first token where that can be said; None: as it comes
    max_tokens: int | None = None  # that the answer may have; None: as it comes
    usage: bool = False  # whether a stream is to tell its tokens, where that is to be asked for
    open_for: float | None = None  # seconds for which a failing primary is left alone, where that can be set
    recover: bool = False  # whether a stream that breaks is to be recovered, where that can be set


class Library(Protocol):
    """A library with a primary and a backup, both OpenAI's chat completions."""

    opens_for: float | None  # seconds for which it leaves a failing primary alone; None where it never does
    recovers: bool  # whether it recovers a stream that breaks, as asked

    async def ask(self, prompt: str) -> str:
        """Return the whole answer, as a Whole."""

    def stream(self, prompt: str) -> AsyncIterator[str]:
        """Give the answer in pieces."""

    async def close(self) -> None:
        """Let go of what it holds."""


class Restart(str):
    """In place of a piece: the library tells its caller that what came so far is taken back."""


class Finish(str):
    """After the last piece: why the answer ended, in the library's words; "None" where it says nothing."""

    model: str | None
    usage: bool

    def __new__(cls, reason: object, model: str | None = None, usage: object = None) -> "Finish":
        """Take whatever the library has for a reason, which model it says has answered, and the tokens it tells."""
        new = super().__new__(cls, getattr(reason, "value", reason))
        new.model, new.usage = model, bool(usage)
        return new


class Whole(str):
    """A whole answer."""

    model: str | None
    usage: bool

    def __new__(cls, text: str, model: str | None = None, usage: object = None) -> "Whole":
        """Take the text, which model the library says has answered, and the tokens it tells."""
        new = super().__new__(cls, text)
        new.model, new.usage = model, bool(usage)
        return new


class Failed(Exception):
    """The library returned a failure instead of raising one."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Driver:
    """Obeys the commands."""

    def __init__(self, make: Callable[[Setting], Library], tell: Callable[[dict[str, Any]], None]) -> None:
        self.make = make
        self.tell = tell
        self.library: Library | None = None
        self.asking: asyncio.Task[None] | None = None

    async def obey(self, command: dict[str, Any]) -> None:
        """Carry out a command; asking goes on in the background, so that it can be cancelled."""
        match command.pop("do"):
            case "make":
                await self.close()
                self.library = self.make(Setting(**command))
                self.tell({"made": {"opens_for": self.library.opens_for, "recovers": self.library.recovers}})
            case "ask":
                self.asking = asyncio.create_task(self.ask(**command))
                self.asking.add_done_callback(functools.partial(self.look, command["turn"]))
            case "cancel":
                if self.asking is not None:
                    self.asking.cancel()
                    await asyncio.wait([self.asking], timeout=2)
                self.tell({"cancelled": True})

    async def ask(self, turn: int, stream: bool, times: int, at_once: bool, every: float | None) -> None:
        """Ask a number of times: one after the other, all at once, or one every so many seconds."""
        if at_once or every is not None:
            async with asyncio.TaskGroup() as group:
                for _ in range(times):
                    group.create_task(self.ask_once(turn, stream))
                    if every is not None:
                        await asyncio.sleep(every)
        else:
            for _ in range(times):
                await self.ask_once(turn, stream)
        self.tell({"turn": turn, "done": True})

    async def ask_once(self, turn: int, stream: bool) -> None:
        """Ask, and tell what the caller saw."""
        assert self.library is not None  # made before
        text, failure, detail = "", None, ""
        finish, restarts = None, 0
        told: Finish | Whole | None = None
        start = time.perf_counter()
        try:
            if stream:
                async for piece in self.library.stream(PROMPT):
                    if isinstance(piece, Restart):
                        text, restarts = "", restarts + 1
                    elif isinstance(piece, Finish):
                        finish, told = str(piece), piece
                    else:
                        text += piece
            else:
                text = await self.library.ask(PROMPT)
                told = text if isinstance(text, Whole) else None
        except Failed as error:
            failure, detail = error.kind, str(error)
        except Exception as error:
            failure, detail = type(error).__name__, str(error)
        seconds = time.perf_counter() - start
        detail = " ".join(detail.split())[:300]
        what = {"failure": failure, "detail": detail, "finish": finish, "restarts": restarts}
        what |= {"model": told.model if told else None, "usage": told.usage if told else False}
        self.tell({"turn": turn, "answer": {"seconds": seconds, "text": text, **what}})

    def look(self, turn: int, asking: asyncio.Task[None]) -> None:
        """Tell where asking ended in a way that no caller can expect, instead of leaving everybody to wait."""
        error = "cancelled" if asking.cancelled() else asking.exception()
        if error:
            self.tell({"turn": turn, "broken": repr(error)})

    async def close(self) -> None:
        """Let go of the library, whatever it says to that."""
        if self.library is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.library.close(), 2)
            self.library = None


async def _run(make: Callable[[Setting], Library], distributions: tuple[str, ...], descriptor: int) -> None:
    def tell(what: dict[str, Any]) -> None:
        os.write(descriptor, (json.dumps(what) + "\n").encode())

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)  # what a cancelled call leaves behind is not measured
    driver = Driver(make, tell)
    tell({"versions": {name: version(name) for name in distributions}})
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await driver.obey(json.loads(line))
    await driver.close()


def drive(make: Callable[[Setting], Library], *distributions: str) -> None:
    """Run as a driver until the input ends.

    Args:
        make: sets the library up.
        distributions: whose versions are told.
    """
    descriptor = os.dup(1)  # the library may print what it likes: that goes where errors go
    os.dup2(2, 1)
    asyncio.run(_run(make, distributions, descriptor))
    os._exit(0)  # threads of a library must not keep the process
