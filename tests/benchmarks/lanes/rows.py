"""What is played: the rows, and how often each is in a turn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from upstream import PIECES, piece_texts, whole_text

LARGE = 2**20  # characters of a large prompt
SHORT = 20
AT_ONCE = 100


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    Args:
        key: its name on the command line.
        title: its name on the page.
        about: what is done, for the reader of the page.
        way: how it is called.
        calls: how many calls a turn has.
        stream: whether the answer is read as a stream.
        at_once: whether all calls of a turn are under way at the same time.
        manner: of the primary: see upstream.py.
        prompt: characters of it.
        cold: whether a process is started for each call.
    """

    key: str
    title: str
    about: str
    way: Literal["sync", "async", "threads"]
    calls: int
    stream: bool = False
    at_once: bool = False
    manner: str = "well"
    prompt: int = SHORT
    cold: bool = False

    @property
    def answer(self) -> str:
        """The right one."""
        who = "backup" if self.manner == "limited" else "primary"
        return "".join(piece_texts(who)) if self.stream else whole_text(who)

    def told(self, *, warm: int) -> dict[str, Any]:
        """Return what a worker is told.

        Args:
            warm: calls to make before the clock starts; of rows with all calls at once, as many turns.
        """
        row = asdict(self) | {"answer": self.answer, "warm": warm}
        return {name: row[name] for name in ("way", "stream", "manner", "calls", "at_once", "prompt", "answer", "warm")}


ROWS = (
    Row("sync", "call", "calls, one after the other", "sync", 40),
    Row("async", "async call", "the same on an event loop", "async", 40),
    Row("async-100", "100 async calls", "calls that are under way at once", "async", AT_ONCE, at_once=True),
    Row("threads-100", "100 threads", "sync calls, each in a thread", "threads", AT_ONCE, at_once=True),
    Row("stream", "stream", f"streams of {PIECES} pieces that come in one go", "sync", 10, stream=True),
    Row("async-stream", "async stream", "the same on an event loop", "async", 10, stream=True),
    Row(
        "slow-stream",
        "slow stream",
        f"streams of {PIECES} pieces that come one by one, every 2 ms",
        *("sync", 2, True),
        manner="paced-2",
    ),
    Row(
        "async-slow-stream",
        "async slow stream",
        "the same on an event loop",
        *("async", 2, True),
        manner="paced-2",
    ),
    Row(
        "async-streams-100",
        "100 async streams",
        f"streams of {PIECES} pieces that are under way at once; each gets a piece every 10 ms",
        *("async", AT_ONCE, True),
        at_once=True,
        manner="paced-10",
    ),
    Row("failover", "failed-over call", "the primary answers 429, the backup is well", "sync", 20, manner="limited"),
    Row("async-failover", "async failed-over call", "the same on an event loop", "async", 20, manner="limited"),
    Row("large", "large call", f"a prompt of {LARGE:,} characters", "sync", 5, prompt=LARGE),
    Row("async-large", "async large call", "the same on an event loop", "async", 5, prompt=LARGE),
    Row("cold", "cold answer", "a process from its start to its first answer", "sync", 1, cold=True),
    Row("async-cold", "async cold answer", "the same on an event loop", "async", 1, cold=True),
)
