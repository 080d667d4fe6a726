"""The crash test: sixteen faults after those of a public test of gateways and SDKs, and who passes which.

The rows follow https://github.com/failoverbench/failoverbench (its catalogue of scenarios, version 0.1, read
2026-11-30) in what goes wrong and in what is expected then; the upstream and the judgement are this benchmark's.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from driver_process import Answer, DriverProcess
from judge import BACKUP, UNTRUE, outcome
from libraries import LIBRARIES, OURS, Library, Variant
from replies import SLOW, STALLED
from report import machine, table
from upstream_process import Upstream

TIMEOUT = 30.0  # seconds: what the peers are given, as in the public test; Understudy is given none
LONG_ANSWER = 16_000  # tokens that an answer may have
WELL = 25  # calls before each fault, while all is well: as many as a program of some age has made
SETTLING = 0.1  # seconds for requests that come after the answer
AFTERWARDS = 20.0  # seconds for a call when all is well again
DOWN, CALLS, EVERY, BACK = 60.0, 20, 4.0, 30.0  # seconds, calls, seconds between them, seconds until used again

Mark = Literal["pass", "partly", "safe", "FAIL"]


@dataclass(frozen=True)
class Played:
    """What came of one fault with one library.

    Args:
        words: what every caller saw; see judge.py.
        answers: the same in full.
        seconds: that the slowest call took.
        primary: when the primary was asked, in seconds.
        well: when it was asked and was well, likewise.
        backup: how often the backup was asked.
        alive: whether a call succeeded afterwards, when all was well again.
    """

    words: Sequence[str]
    answers: Sequence[Answer]
    seconds: float
    primary: Sequence[float]
    well: Sequence[float]
    backup: int
    alive: bool

    @property
    def answered(self) -> bool:
        """Whether every caller had a whole answer."""
        return all(word in ("answer", "restarted") for word in self.words)


Check = Callable[[Played], str]  # returns what is wrong, or nothing


@dataclass(frozen=True)
class Crash:
    """One fault.

    Args:
        key: what it is called on the command line.
        title: what goes wrong.
        wanted: what a library should make of it.
        primary: the primary's fault; see upstream.py for the words.
        backup: the backup's.
        must: what fails the row.
        should: what makes it a part of a success.
        bound: seconds after which it is given up.
        refused: whether the right end is a failure that the caller hears of.
        calls: how many, one every EVERY seconds.
    """

    key: str
    title: str
    wanted: str
    primary: str
    backup: str = ""
    must: tuple[Check, ...] = ()
    should: tuple[Check, ...] = ()
    bound: float = 40.0
    refused: bool = False
    calls: int = 1


@dataclass(frozen=True)
class Verdict:
    """How a library came through one fault, and why no better."""

    mark: Mark
    why: str = ""
    told: str = field(default="", compare=False)  # what was counted


Verdicts = dict[tuple[str, str, str, bool], Verdict]  # by crash, library, variant, and whether a stream was asked for


def _at_most(most: int) -> Check:
    return lambda played: "" if len(played.primary) <= most else f"{len(played.primary)} requests to the primary"


def _at_least(least: int) -> Check:
    return lambda played: "" if len(played.primary) >= least else "the primary is not asked again"


def _within(seconds: float) -> Check:
    return lambda played: "" if played.seconds <= seconds else f"{played.seconds:.0f} s"


def _not_hammered(seconds: float, most: int) -> Check:
    def check(played: Played) -> str:
        soon = sum(at < seconds for at in played.primary)
        return "" if soon <= most else f"{soon} requests within {seconds:g} s"

    return check


def _keeps_the_hint(played: Played) -> str:
    gap = played.primary[1] - played.primary[0] if len(played.primary) > 1 else 0.0
    return "" if gap >= 1.8 else "the hint is not waited for"


def _lives(played: Played) -> str:
    return "" if played.alive else "the next call fails as well"


def _tells_tokens(played: Played) -> str:
    return "" if all(answer.usage for answer in played.answers) else "no tokens are told"


def _tells_model(played: Played) -> str:
    wrong = [
        answer.model for answer in played.answers if answer.text == BACKUP and "backup" not in (answer.model or "")
    ]
    return f"the model told is {wrong[0]}" if wrong else ""


def _comes_back(played: Played) -> str:
    return "" if any(at <= DOWN + BACK for at in played.well) else "the primary is not used again"


CRASHES = (
    Crash(
        "crash-hint",
        "429 once, with Retry-After 2",
        "the primary is asked again, after 2 s",
        "1:429 retry-after 2",
        must=(_not_hammered(1.5, 2),),
        should=(_at_least(2), _keeps_the_hint),
    ),
    Crash(
        "crash-429",
        "429 for ever, no hint",
        "an answer; at most 4 requests within 3 s, 6 in all",
        "429",
        must=(_not_hammered(3.0, 4), _at_most(6)),
    ),
    Crash("crash-500", "500 once, then well", "the primary's answer", "1:500", should=(_at_least(2),)),
    Crash("crash-503", "503 for ever", "an answer; at most 6 requests", "503", must=(_at_most(6),)),
    Crash("crash-reset", "the connection is reset once", "an answer", "1:reset"),
    Crash(
        "crash-silence",
        "no reply at all",
        "an answer within 100 s, and the primary asked once",
        "hang",
        must=(_within(100.0),),
        should=(_at_most(1),),
        bound=130.0,
    ),
    Crash(
        "crash-slow",
        f"the first piece after {SLOW:g} s",
        "an answer within 15 s",
        "slow",
        should=(_within(15.0),),
        bound=60.0,
    ),
    Crash("crash-cut", "the answer is cut", "a whole answer all the same", "cut"),
    Crash(
        "crash-stall",
        f"the answer stalls for {STALLED:g} s, then is cut",
        "a whole answer within 45 s, and the next call as ever",
        "stall",
        must=(_within(45.0), _lives),
        bound=70.0,
    ),
    Crash(
        "crash-malformed",
        "a malformed chunk",
        "a whole answer, and the next call as ever",
        "malformed chunk",
        must=(_lives,),
    ),
    Crash(
        "crash-done",
        "no [DONE]",
        "the answer within 8 s, and its tokens",
        "no done",
        must=(_within(8.0),),
        should=(_tells_tokens,),
    ),
    Crash(
        "crash-context",
        "the context is too long",
        "the backup's answer, the primary asked once",
        "context too long",
        must=(_at_most(1),),
    ),
    Crash(
        "crash-filter",
        "a content filter refuses",
        "the refusal is told, the primary asked once",
        "content filter",
        must=(_at_most(1),),
        refused=True,
    ),
    Crash(
        "crash-prefill",
        "the answer is cut, and the backup goes on with none that has begun",
        "a whole answer all the same",
        "cut",
        "no prefill",
    ),
    Crash(
        "crash-flapping",
        f"503 for {DOWN:g} s, then well: {CALLS} calls in {CALLS * EVERY:g} s",
        f"all are answered, and the primary is used again within {BACK:g} s",
        f"{DOWN:g}s:503",
        must=(_comes_back,),
        bound=150.0,
        calls=CALLS,
    ),
    Crash(
        "crash-accounts",
        "503 for ever: who is told to have answered",
        "the backup's model and its tokens",
        "503",
        must=(_tells_model, _at_most(6)),
        should=(_tells_tokens,),
    ),
)


def variants(library: Library) -> tuple[Variant, ...]:
    """Return how a library is set up here: ours as it ships, with streams begun anew, and by its other preset."""
    if library is not OURS:  # what is set in an environment belongs to the timeout of the other rows
        return tuple(replace(variant, environment={}) for variant in library.variants)
    restart: Mapping[str, Any] = {"stream_recovery": "restart"}
    return (
        Variant("patient", (), "`Policy.patient()`"),
        Variant("eager", (), "`Policy.eager()`"),
        Variant("eager restart", (), "`Policy.eager(stream_recovery='restart')`", restart, streams_only=True),
    )


async def play(crash: Crash, driver: DriverProcess, upstream: Upstream, *, stream: bool) -> Verdict:
    """Play one fault with a library that is set up anew and has made some calls."""
    pair = await upstream.open()
    try:
        timeout = None if driver.library is OURS else TIMEOUT
        await driver.make(pair, timeout=timeout, max_tokens=LONG_ANSWER, usage=True)
        await driver.ask(stream=stream, times=WELL, bound=crash.bound)
        await pair.set_fault(crash.primary)
        await pair.set_fault(crash.backup, "backup")
        await pair.clear()
        every = EVERY if crash.calls > 1 else None
        answers, given_up = await driver.ask(stream=stream, times=crash.calls, every=every, bound=crash.bound)
        await asyncio.sleep(SETTLING)
        log = await pair.log()
        for role in ("primary", "backup"):
            await pair.set_fault("", role)
        again, _ = await driver.ask(stream=stream, bound=AFTERWARDS)
    finally:
        await pair.close()
    words = [outcome(answer.text, answer.failure, answer.restarts) for answer in answers]
    played = Played(
        words + ["nothing"] * (crash.calls - len(answers)),
        answers,
        crash.bound if given_up else max(answer.seconds for answer in answers),
        [request["at"] for request in log if request["role"] == "primary"],
        [request["at"] for request in log if request["role"] == "primary" and not request["faulty"]],
        sum(request["role"] == "backup" for request in log),
        bool(again) and again[0].failure is None,
    )
    return judge(crash, played, given_up=given_up)


def judge(crash: Crash, played: Played, *, given_up: bool) -> Verdict:
    """Return how a library came through."""
    counted = f"{len(played.primary)}+{played.backup}, {played.seconds:.1f} s"
    if given_up:
        return Verdict("FAIL", f"no end within {crash.bound:g} s", counted)
    untrue = [word for word in played.words if word in UNTRUE]
    wrong = [f"{untrue[0]} reported as success"] if untrue else []
    wrong += [said for check in crash.must if (said := check(played))]
    if wrong:
        return Verdict("FAIL", "; ".join(wrong), counted)
    if crash.refused:
        return (
            Verdict("partly", "the backup is asked, and answers", counted)
            if played.answered
            else Verdict("pass", "", counted)
        )
    if not played.answered:
        failed = [word for word in played.words if word not in ("answer", "restarted")]
        often = "" if crash.calls == 1 else f"{len(failed)} of {crash.calls}: "
        return Verdict("safe", f"{often}{failed[0]}", counted)
    lacking = [said for check in crash.should if (said := check(played))]
    return Verdict("partly", "; ".join(lacking), counted) if lacking else Verdict("pass", "", counted)


def page(verdicts: Verdicts, missing: dict[str, str]) -> str:
    """Return all of it, as Markdown."""
    crashes = [crash for crash in CRASHES if any(key == crash.key for key, *_ in verdicts)]
    rules = [[str(number), crash.title, crash.wanted] for number, crash in enumerate(crashes, 1)]
    parts = [f"{machine()} The peers have a timeout of {TIMEOUT:g} s, Understudy has none but its own."]
    parts.append(table(["", "what goes wrong", "what is wanted"], rules))
    for stream, title in ((False, "Whole answers"), (True, "Streams")):
        parts += [f"### {title}", _marks(crashes, verdicts, stream=stream)]
    parts += [f"{name} did not take part: {why}" for name, why in missing.items()]
    parts += ["<details>", "<summary>Why, and what was counted</summary>", _details(crashes, verdicts), "</details>"]
    return "\n\n".join(parts)


def _players(verdicts: Verdicts, *, stream: bool) -> list[tuple[str, str]]:
    found = {(name, variant) for _, name, variant, streamed in verdicts if streamed is stream}
    order = [(library.name, variant.name) for library in LIBRARIES for variant in variants(library)]
    return [player for player in order if player in found]


def _marks(crashes: Sequence[Crash], verdicts: Verdicts, *, stream: bool) -> str:
    rows = []
    for name, variant in _players(verdicts, stream=stream):
        marks = [verdicts[crash.key, name, variant, stream].mark for crash in crashes]
        rows.append([f"{name}, {variant}", *marks, f"**{marks.count('pass')}**"])
    return table(["", *(str(number) for number, _ in enumerate(crashes, 1)), "passed"], rows)


def _details(crashes: Sequence[Crash], verdicts: Verdicts) -> str:
    rows = []
    for number, crash in enumerate(crashes, 1):
        for stream in (False, True):
            for name, variant in _players(verdicts, stream=stream):
                verdict = verdicts[crash.key, name, variant, stream]
                way = "stream" if stream else "whole"
                player = f"{name}, {variant}"
                rows.append([f"{number}. {crash.title}", way, player, verdict.mark, verdict.told, verdict.why])
    return table(["", "asked for", "library", "", "requests, seconds", "why"], rows)
