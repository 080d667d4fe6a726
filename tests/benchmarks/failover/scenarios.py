"""What happens to whom: the rows of the table, and how one of them is played with one library."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from driver_process import Answer, DriverProcess
from libraries import TIMEOUT
from upstream_process import Pair, Upstream

CALLS = 20
CALLERS = 50
MOST_FAILURES = 25  # calls that are made to see whether a library comes to leave the primary alone
OPEN_FOR = 1.0  # seconds for which the primary is left alone in the herd, where that can be set
BOUND = 35.0  # seconds after which a single call is given up
LONG_BOUND = 60.0  # seconds for many calls
LONGEST_BOUND = 100.0  # seconds where no timeout is set, and while a primary flaps
LONG_ANSWER = 16_000  # tokens that are allowed where a model thinks
FLAPS, FLAP_EVERY = 120, 0.5  # calls while a primary flaps, and the seconds between them
WARMING = 15.0  # seconds for a call before anything is measured
SETTLING = 0.1  # seconds for requests that come after the answer
POLL = 0.1  # seconds between two calls while waiting for the primary

Kind = Literal["call", "calls", "brown-out", "flapping", "herd", "recovery"]


@dataclass(frozen=True)
class Scenario:
    """A row: what the primary does, and how it is called meanwhile.

    Args:
        key: what it is called on the command line.
        title: what it is called in the tables.
        fault: of the primary; see upstream.py for the words.
        kind: how often it is called.
        stream: whether for a stream.
        recover: whether a stream that breaks is to be recovered.
        backup: the backup's fault; it is well all the time where there is none.
        of_use: whether the primary has an answer for who asks again, or waits: the backup's are in vain then.
        timed: whether the libraries are given the common timeout, or none.
    """

    key: str
    title: str
    fault: str
    kind: Kind = "call"
    stream: bool = False
    recover: bool = False
    backup: str = ""
    of_use: bool = False
    timed: bool = True

    @property
    def bound(self) -> float:
        """Seconds after which it is given up."""
        if self.kind == "flapping" or not self.timed:
            return LONGEST_BOUND
        return BOUND if self.kind == "call" else LONG_BOUND

    @property
    def callers(self) -> int:
        """How many callers there are; 1 where they go on until something comes about."""
        return {"calls": CALLS, "brown-out": CALLS, "flapping": FLAPS, "herd": CALLERS}.get(self.kind, 1)

    @property
    def is_slow(self) -> bool:
        """Whether it takes long by its nature."""
        return self.kind != "call" or not self.timed


@dataclass
class Result:
    """What came of one scenario with one library."""

    primary: int = 0  # requests to it
    backup: int = 0
    faulty: int = 0  # of the primary's, those that met its fault
    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    given_up: bool = False  # at the bound
    learned: bool | None = None  # herd and recovery: whether the primary came to be left alone
    calls: int = 0  # recovery: until the primary served again
    missing: str = ""  # why nothing was measured


BURST = Scenario("brown-out-burst", f"{CALLS} calls, 500 twice in a row", "5,6/10:500", kind="brown-out", of_use=True)
SCENARIOS = (
    Scenario("429", "429", "429"),
    Scenario("retry-after", "429, Retry-After 30", "429 retry-after 30"),
    Scenario("500", "500", "500"),
    Scenario("500-once", "500 once, then well", "1:500", of_use=True),
    Scenario("503", "503", "503"),
    Scenario("last-hint", "401, and the backup 429 once, Retry-After 2", "401", backup="1:429 retry-after 2"),
    Scenario("refused", "connection refused", "refused"),
    Scenario("hang", "no reply", "hang"),
    Scenario("dribble", "a byte every 0.1 s", "dribble"),
    Scenario("thinks", "thinks for 75 s", "thinks", of_use=True, timed=False),
    Scenario("400", "400, the caller's fault", "400", backup="400"),
    Scenario("400-own", "400, the primary's own", "400 own"),
    Scenario("foreign-error", "200, an error instead", "foreign error"),
    Scenario("empty", "200, empty content", "empty"),
    Scenario("malformed", "200, malformed JSON", "malformed"),
    Scenario("html", "200, a page of HTML", "html"),
    Scenario("answer-cut", "200, body cut off", "answer cut"),
    Scenario("stream-hang", "stream: no reply", "hang", stream=True),
    Scenario("stream-silent", "stream: role, then silence", "silent stream", stream=True),
    Scenario("stream-keepalives", "stream: keep-alives only", "keepalives", stream=True),
    Scenario("stream-heartbeats", "  no timeout set", "keepalives", stream=True, timed=False),
    Scenario("stream-thinks", "stream: thinks for 75 s", "thinks", stream=True, of_use=True, timed=False),
    Scenario("stream-error-first", "stream: error event first", "error first", stream=True),
    Scenario("stream-ends", "stream: ends without finish", "stream ends", stream=True),
    Scenario("stream-cut", "stream: cut after 5 pieces", "stream cut", stream=True),
    Scenario("stream-error-later", "stream: error after 5 pieces", "error later", stream=True),
    Scenario("stream-foreign", "stream: half, then a foreign error", "foreign error", stream=True),
    Scenario("stream-recovery", "  recovery asked for", "error later", stream=True, recover=True),
    Scenario("calls-500", f"{CALLS} calls, 500", "500", kind="calls"),
    Scenario("calls-hang", f"{CALLS} calls, no reply", "hang", kind="calls"),
    Scenario("brown-out", f"{CALLS} calls, every 5th 500", "5/5:500", kind="brown-out", of_use=True),
    BURST,
    Scenario("flapping", "down 5 s, up 5 s, for 60 s", "5s/10s:503", kind="flapping"),
    Scenario("herd", f"{CALLERS} callers after cooldown", "500", kind="herd"),
    Scenario("recovery", "primary well again", "500", kind="recovery"),
)


async def warm_up(driver: DriverProcess, upstream: Upstream) -> None:
    """Fail over once in both ways of asking, for what a library loads only when it comes to that."""
    pair = await upstream.open()
    try:
        await driver.make(pair)
        for fault in ("", "429"):
            await pair.set_fault(fault)
            for stream in (False, True):
                await driver.ask(stream=stream, bound=WARMING)
    finally:
        await pair.close()


async def play(scenario: Scenario, driver: DriverProcess, upstream: Upstream) -> Result:
    """Play a scenario with a library that is set up anew, on ports of its own."""
    pair = await upstream.open()
    try:
        limits = {"timeout": TIMEOUT} if scenario.timed else {"timeout": None, "max_tokens": LONG_ANSWER}
        open_for = OPEN_FOR if scenario.kind == "herd" else None
        made = await driver.make(pair, open_for=open_for, recover=scenario.recover, **limits)
        if scenario.recover and not made["recovers"]:
            return Result(missing="no such option")
        await driver.ask(stream=scenario.stream, bound=scenario.bound)  # connections and caches are made in it
        await pair.set_fault(scenario.fault)
        await pair.set_fault(scenario.backup, "backup")
        await pair.clear()
        if scenario.kind == "herd":
            return await _herd(scenario, driver, pair, made)
        if scenario.kind == "recovery":
            return await _recovery(scenario, driver, pair)
        return await _calls(scenario, driver, pair, times=scenario.callers)
    finally:
        await pair.close()


async def _calls(scenario: Scenario, driver: DriverProcess, pair: Pair, times: int, at_once: bool = False) -> Result:
    start = time.monotonic()
    every = FLAP_EVERY if scenario.kind == "flapping" else None
    answers, given_up = await driver.ask(
        stream=scenario.stream, times=times, at_once=at_once, every=every, bound=scenario.bound
    )
    seconds = time.monotonic() - start
    if not given_up and (times == 1 or every is not None):
        seconds = max(answer.seconds for answer in answers)
    await asyncio.sleep(SETTLING)
    return Result(**await pair.count(), seconds=seconds, answers=answers, given_up=given_up)


async def _fail_until_learned(driver: DriverProcess, pair: Pair) -> bool:
    """Call a failing primary until the library leaves it alone, and tell whether that came."""
    until = time.monotonic() + BOUND
    asked = 0
    for _ in range(MOST_FAILURES):
        _, given_up = await driver.ask(bound=until - time.monotonic())
        before, asked = asked, (await pair.count())["primary"]
        if given_up:
            return False
        if asked == before:
            return True
    return False


async def _herd(scenario: Scenario, driver: DriverProcess, pair: Pair, made: dict[str, Any]) -> Result:
    learned = await _fail_until_learned(driver, pair)
    if learned:
        await asyncio.sleep(made["opens_for"] + 2 * SETTLING)
    await pair.clear()
    result = await _calls(scenario, driver, pair, times=scenario.callers, at_once=True)
    result.learned = learned
    return result


async def _recovery(scenario: Scenario, driver: DriverProcess, pair: Pair) -> Result:
    result = Result(learned=await _fail_until_learned(driver, pair))
    await pair.set_fault("")
    await pair.clear()
    start = time.monotonic()
    while not result.given_up and (await pair.count())["primary"] == 0:
        if result.calls:
            await asyncio.sleep(POLL)
        answers, given_up = await driver.ask(bound=scenario.bound)
        result.answers += answers
        result.calls += 1
        result.given_up = given_up or time.monotonic() - start > scenario.bound
    result.seconds = time.monotonic() - start
    counts = await pair.count()
    result.primary, result.backup, result.faulty = counts["primary"], counts["backup"], counts["faulty"]
    return result
