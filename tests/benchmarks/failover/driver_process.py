"""A driver as a process: a library in its own environment, and what is said to it."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _environments import KEPT, QUIET
from libraries import TIMEOUT, Library, Variant
from upstream_process import Pair

DRIVERS = Path(__file__).with_name("drivers")
START = 300.0  # seconds for a library to be imported, where many are at the same time
MAKE = 30.0  # seconds for it to be set up
CANCEL = 5.0  # seconds for it to give up what it does


@dataclass(frozen=True)
class Answer:
    """What the caller saw: see drivers/_driver.py."""

    seconds: float
    text: str
    failure: str | None
    detail: str
    finish: str | None
    restarts: int
    model: str | None = None
    usage: bool = False


class Ended(Exception):
    """The driver has ended or hangs."""


class DriverProcess:
    """The driver of one library in one variant; it is started when it is needed, and again where it hung."""

    def __init__(self, library: Library, variant: Variant, python: str, log: Path) -> None:
        self.library = library
        self.variant = variant
        self.python = python
        self.log = log
        self.process: asyncio.subprocess.Process | None = None
        self.versions: dict[str, str] = {}
        self.turn = 0

    async def start(self) -> None:
        """Start the process, unless it runs."""
        if self.process is not None:
            return
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {**QUIET, **self.variant.environment}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.python,
                DRIVERS / f"{self.library.driver}.py",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                limit=1 << 20,
            )
        self.versions = (await self._hear(START))["versions"]

    async def make(
        self,
        pair: Pair,
        *,
        open_for: float | None = None,
        recover: bool = False,
        timeout: float | None = TIMEOUT,
        max_tokens: int | None = None,
        usage: bool = False,
    ) -> dict[str, Any]:
        """Set the library up anew."""
        await self.start()
        addresses = {"primary": pair.primary, "backup": pair.backup}
        setting = {"variant": self.variant.name, "options": dict(self.variant.options), **addresses}
        limits = {"timeout": timeout, "max_tokens": max_tokens, "usage": usage}
        self._say(do="make", **setting, **limits, open_for=open_for, recover=recover)
        made: dict[str, Any] = (await self._hear(MAKE))["made"]
        return made

    async def ask(
        self, *, stream: bool = False, times: int = 1, at_once: bool = False, every: float | None = None, bound: float
    ) -> tuple[list[Answer], bool]:
        """Ask; return the answers that came within so many seconds, and whether the rest was given up."""
        self.turn += 1
        self._say(do="ask", turn=self.turn, stream=stream, times=times, at_once=at_once, every=every)
        answers: list[Answer] = []
        try:
            async with asyncio.timeout(max(bound, 0.0)):
                while "done" not in (told := await self._hear(None)) or told["turn"] != self.turn:
                    if told.get("turn") != self.turn:
                        continue  # from a call that was given up and went on all the same
                    if "broken" in told:
                        raise Ended(f"the driver of {self.library.name} broke: {told['broken']}")
                    answers.append(Answer(**told["answer"]))
        except TimeoutError:
            self._say(do="cancel")
            try:
                while "cancelled" not in await self._hear(CANCEL):
                    pass
            except Ended:
                await self.stop()
            return answers, True
        return answers, False

    async def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()
            self.process = None

    def _say(self, **command: Any) -> None:
        if self.process is None:
            raise Ended
        assert self.process.stdin is not None  # a pipe
        self.process.stdin.write((json.dumps(command) + "\n").encode())

    async def _hear(self, seconds: float | None) -> dict[str, Any]:
        assert self.process is not None  # something was said to it
        assert self.process.stdout is not None  # a pipe
        try:
            async with asyncio.timeout(seconds):
                line = await self.process.stdout.readline()
        except TimeoutError:
            await self.stop()
            raise Ended(f"the driver of {self.library.name} does not answer, see {self.log}") from None
        if not line:
            await self.stop()
            raise Ended(f"the driver of {self.library.name} has ended, see {self.log}")
        told: dict[str, Any] = json.loads(line)
        return told
