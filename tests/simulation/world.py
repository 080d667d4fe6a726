"""The virtual clock, and the history: all that happened, as those saw it to whom it happened."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from understudy.errors import Failure
from understudy.events import Event
from understudy.execution.call import Execution
from understudy.health.store import Claim, Lease, Report
from understudy.limits import Limits
from understudy.policy import Policy
from understudy.response import LLMResponse, StreamEvent

if TYPE_CHECKING:
    from simulation.faults import Episode

BEGINNING = 1000.0  # seconds on the virtual clock; not 0, which an `or` takes for nothing


class Stuck(Exception):
    """Something waits that nothing will ever wake."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time stands still while there is anything to do, and then jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGINNING
        self._selector = self  # asks nobody whether a socket is ready: there are none
        self._clock_resolution = 1e-9  # a timer is due when it is less than this away

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass until the next timer."""
        if timeout is None:
            raise Stuck("a task waits, and no timer is set")
        if timeout > 0:
            self.now = self._scheduled[0].when()  # type: ignore[attr-defined]  # a heap of timers, in every version
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else's thread ever has to wake this loop."""


@dataclass(slots=True, eq=False)
class Visit:
    """One request as a vendor saw it."""

    call: int
    vendor: str
    began: float
    streaming: bool
    store: str
    lease: Lease
    claim: Claim
    ended: float = float("inf")
    outcome: str = "under way"  # or "answered", "failed", "left" by the caller
    failure: Failure | None = None
    text: str = ""
    adapted: bool = False  # whether the request was
    thinks: bool = False  # whether the model does
    beat: float | None = None  # seconds between its signs of life
    signs: list[float] = field(default_factory=list)  # when there was one, pieces included
    pieces: list[float] = field(default_factory=list)  # when there was something to show


@dataclass(slots=True, eq=False)
class CallRecord:
    """One call as its caller saw it."""

    number: int
    client: int
    policy: Policy
    streaming: bool
    prompt: str
    max_tokens: int
    arrived: float
    used: Policy | None = None  # what the factory took for the policy
    performance: Execution | None = None  # as long as it lasts
    route: tuple[str, ...] = ()
    ended: float = float("inf")
    response: LLMResponse | None = None
    error: BaseException | None = None
    left: bool = False
    died: bool = False  # its program did, and gave nothing back
    pieces: list[tuple[float, StreamEvent]] = field(default_factory=list)
    told: list[tuple[float, Event]] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    retries: list[tuple[float, str]] = field(default_factory=list)  # "granted", "refused" or "given back"
    hedges: list[tuple[float, str]] = field(default_factory=list)  # likewise
    open: list[str] = field(default_factory=list)  # vendors whose answers were still open when it ended
    lease: dict[str, tuple[str, Lease, Claim]] = field(default_factory=dict)

    @property
    def deadline(self) -> float:
        """When it must have ended."""
        return float("inf") if self.policy.deadline is None else self.arrived + self.policy.deadline


@dataclass(slots=True, eq=False)
class Taken:
    """One question to a health store, and its answer.

    Args:
        probe_until: where the lease is a probe: when another one may be sent beside it.
    """

    at: float
    store: str
    target: str
    call: int
    claim: Claim
    lease: Lease
    probe_until: float


@dataclass(slots=True, eq=False)
class Given:
    """One report to a health store.

    Args:
        failure: what the vendor said.
        touched: whether what is held against the target changed, though the request was at fault.
    """

    at: float
    store: str
    target: str
    call: int
    claim: Claim
    lease: Lease
    report: Report
    after: Lease
    failure: Failure | None
    touched: bool


@dataclass(slots=True, eq=False)
class Flushed:
    """A health store forgot all that it knew."""

    at: float
    store: str


@dataclass(slots=True, eq=False)
class History:
    """All that happened in one world."""

    seed: int
    calls: list[CallRecord] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    store_log: list[Taken | Given | Flushed] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    suspects: set[tuple[int, str]] = field(
        default_factory=set
    )  # calls that were told of a target that it may be silent
    episodes: dict[str, list[Episode]] = field(default_factory=dict)
    budgets: dict[int, tuple[float, float]] = field(default_factory=dict)  # by client: share, reserve a second
    hedges: dict[int, tuple[float, float]] = field(default_factory=dict)  # by client: share, saved up at most
    limits: dict[str, Limits] = field(default_factory=dict)
    remote: bool = False  # whether the health store is reached over a network
    slowest: dict[str, float] = field(default_factory=dict)  # seconds that a sound vendor takes at most
    strict: set[str] = field(default_factory=set)  # who refuses fields that others know
    healed: float = float("inf")
    ended: float = float("inf")
    remains: dict[str, Any] = field(default_factory=dict)

    @property
    def outages(self) -> int:
        """How many episodes of faults a request ran into."""
        return sum(episode.met > 0 for episodes in self.episodes.values() for episode in episodes)

    @property
    def is_flushed(self) -> bool:
        """Whether the health store forgot what it knew."""
        return any(isinstance(entry, Flushed) for entry in self.store_log)

    def digest(self) -> str:
        """Return a hash of everything in it."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line.encode())
        return digest.hexdigest()

    def lines(self) -> Iterable[str]:
        """Tell it, a line for each thing that happened."""
        for call in self.calls:
            answer = call.response.content if call.response is not None else repr(call.error)
            yield f"call {call.number} {call.arrived!r} {call.ended!r} {call.left} {answer}\n"
            for at, what in (*call.told, *call.pieces, *call.retries):
                yield f"  {at!r} {what!r}\n"
        for visit in self.visits:
            times = f"{visit.began!r} {visit.ended!r}"
            yield f"visit {visit.call} {visit.vendor} {times} {visit.outcome} {visit.failure!r}\n"
        for entry in self.store_log:
            if isinstance(entry, Taken):
                yield f"take {entry.at!r} {entry.store} {entry.target} {entry.call} {entry.lease!r}\n"
            elif isinstance(entry, Given):
                yield f"give {entry.at!r} {entry.store} {entry.target} {entry.call} {entry.report!r} {entry.after!r}\n"
        for number, error in self.errors:
            yield f"error {number} {error}\n"


CURRENT: ContextVar[CallRecord] = ContextVar("CURRENT")  # whose task this is, down to the tasks that it starts


def run(main: Callable[[VirtualLoop], Any]) -> VirtualLoop:
    """Run a world to its end, and return its loop."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.run_until_complete(_clear(loop))
        loop.close()
    return loop


async def _clear(loop: VirtualLoop) -> None:
    """End what is still under way, so that none of it ends in the middle of another world."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await loop.shutdown_asyncgens()
