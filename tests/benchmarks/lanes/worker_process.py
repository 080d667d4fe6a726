"""The upstream and the workers as processes, and what is said to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _environments import KEPT, QUIET
from contestants import Contestant
from figures import Turn
from rows import ROWS, Row
from upstream import whole_text

HERE = Path(__file__).parent
LONGEST = 240.0  # seconds for a turn, or for a library to be imported: a limit for what hangs
OURS_KEPT = ("PYTHONPATH",)  # with it a tree that is not installed can be measured


class Failed(Exception):
    """A contestant cannot play a row."""


@contextmanager
def upstream() -> Iterator[str]:
    """Run the upstream for as long as the block lasts; gives its URL."""
    command = [sys.executable, HERE / "upstream.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("expected the upstream to say its URL, found that it had ended")
            yield url
        finally:
            process.stdin.close()  # it ends with its input


def counts(url: str) -> dict[str, int]:
    """Return how many requests came to each path since the last time."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/counts", timeout=LONGEST) as reply:
        told: dict[str, int] = json.load(reply)
    return told


class WorkerProcess:
    """The worker of one contestant: it is started when it is needed, and stays."""

    def __init__(self, contestant: Contestant, python: str, url: str) -> None:
        self.contestant, self.python, self.url = contestant, python, url
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  # to standard error, by all processes; `stop` closes it
        self.process: subprocess.Popen[bytes] | None = None
        self.versions: dict[str, str] = {}
        self.played: set[str] = set()

    def play(self, row: Row) -> Turn:
        """Play a row once.

        Raises:
            Failed: it cannot.
        """
        if row.cold:
            return self._play_cold(row)
        if self.process is None:
            self.process = self._start("warm")
            self.versions = self._hear(self.process)["versions"]
        warm = 0 if row.key in self.played else 2 if row.at_once or row.stream else 5
        self.played.add(row.key)
        assert self.process.stdin is not None  # a pipe
        self.process.stdin.write(json.dumps({"play": row.told(warm=warm)}).encode() + b"\n")
        self.process.stdin.flush()
        told = self._hear(self.process)
        return Turn(told["cpu"] / row.calls, told["wall"] / row.calls, told["peak"])

    def stop(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        self.said.close()
        if process is not None:
            process.kill()
            process.communicate()

    def _play_cold(self, row: Row) -> Turn:
        if row.key not in self.played:  # the first time compiles modules
            self.played.add(row.key)
            self._play_cold(row)
        begun = time.perf_counter()
        process = self._start(row.way)
        try:
            told = self._hear(process)
            wall = time.perf_counter() - begun
        finally:
            process.kill()
            process.communicate()
        if told["text"] != whole_text("primary"):
            raise Failed(f"expected the right answer, found {told['text'][:80]!r}")
        return Turn(told["cpu"], wall, told["peak"])

    def _start(self, kind: str) -> subprocess.Popen[bytes]:
        kept = (*KEPT, *OURS_KEPT) if self.contestant.is_ours else KEPT
        environment = {name: os.environ[name] for name in kept if name in os.environ} | QUIET
        script = HERE / "workers" / f"{self.contestant.worker}.py"
        command = [self.python, script, kind, self.contestant.variant, self.url]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, env=environment
        )

    def _last_words(self) -> str:
        self.said.seek(0)
        return " ".join(self.said.read().decode("utf-8", "replace").split())[-300:]

    def _hear(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout is not None  # a pipe
        limit = threading.Timer(LONGEST, process.kill)
        limit.start()
        try:
            line = process.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            process.kill()
            process.communicate()
            self.process = None  # the next row begins with a new one
            self.played -= {row.key for row in ROWS if not row.cold}
            raise Failed(
                f"its worker has ended, or hung for {LONGEST:.0f} s; the last that it said: {self._last_words()}"
            )
        told: dict[str, Any] = json.loads(line)
        if "failure" in told:
            raise Failed(told["failure"])
        return told
