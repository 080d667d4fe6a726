"""What `Policy.explain()` says is what a real factory does: each failure is played, and both are compared."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
from timed import Player

from understudy import (
    Capabilities,
    Continuation,
    Failure,
    Finish,
    FinishReason,
    LLMFactory,
    LLMResponse,
    Policy,
    Restart,
    Settings,
    StreamInterrupted,
    TextDelta,
    errors,
    weighted,
)
from understudy.engine.timeouts import NOTHING_LEARNT, Learned, times_for
from understudy.errors import (
    AuthenticationFailed,
    CircuitOpen,
    ConnectionFailed,
    CoolingDown,
    LimitReached,
    NeedsAttention,
    Overloaded,
    ServerError,
    TargetResting,
    Timeout,
    TooManyCalls,
)
from understudy.health import BreakerState, InMemoryHealthStore, Lease
from understudy.messages import Message, Request
from understudy.provider import Pace
from understudy.testing import ScriptedProvider, VirtualClock

NOTHING = Settings(environment={}, directory="/")
NEARLY = 1 - 1e-9  # the longest waits that the jitter draws
ON = ["The show goes on."]
HELLO = Request(messages=(Message.user("Hello"),), max_tokens=1024)
POLICIES = {
    "patient": Policy(),
    "eager": Policy.eager(),
    "one retry": Policy(max_retries=1),
    "no retry": Policy.eager(max_retries=0),
    "many retries": Policy(max_retries=9, retry_delay=20),
    "hasty": Policy.eager(deadline=5),
    "hurried": Policy(deadline=20),
    "at random": Policy(jitter="full", retry_delay=1, switch_on_content_blocked=True),
    "steady": Policy.eager(jitter="none", retry_delay=2, max_delay=2),
    "impatient": Policy(retry_delay=0, max_retries=60),
    "touchy": Policy(breaker_requests=1, breaker_failures=3),
    "quick and patient": Policy(quick_retries=2, quota_cooldown=True, quota_calls=1, refusal_cooldown=10),
    "forgetful": Policy.eager(breaker=False, quota_cooldown=False),
    "brief hints": Policy.eager(longest_hint=20, rate_limit_cooldown=50, exhausted_cooldown=7, longest_cooldown=7),
    "no budget": Policy(retry_budget=0, retry_reserve=0),
    "hedging": Policy.eager(hedge_after="p95", hedge_cost=0.01, stream_recovery="restart", max_concurrent_calls=4),
}
each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


def leaves() -> list[type[Failure]]:
    """Return the kinds of failure that the tree in errors.py draws without a branch, but for a whole call's."""
    drawn = re.findall(r"\b[A-Z]\w+\b", (errors.__doc__ or "").partition("Failure  ")[2])
    kinds = [kind for name in drawn if isinstance(kind := getattr(errors, name, None), type)]
    return [kind for kind in kinds if not kind.__subclasses__() and kind is not errors.AllProvidersFailed]


RAISED = [kind for kind in leaves() if not issubclass(kind, TargetResting)]
IN_PLACE = Capabilities(streaming=True, native_async=True, keeps_deadline=True)  # sync calls run where they are made


@cache
def rows(policy: Policy) -> dict[str, str]:
    """Return what an explanation says of each name on its left side."""
    text = policy.explain()
    left = 2 + max(len(found[0]) for found in re.finditer(r"(?<=^  )\w+$|(?<=^  )\w+(?= )", text, re.MULTILINE))
    told: dict[str, str] = {}
    for block in re.split(r"\n\n|\n(?=  [a-z])", text):
        lines = [line for line in block.splitlines() if line.startswith("  ")]
        words = " ".join(line[left + 2 :].strip() for line in lines).strip()
        told |= {name: words for line in lines if (name := line[2 : left + 2].strip())}
    return told


def build(
    policy: Policy, *scripts: list[Any], clock: VirtualClock, store: Any = None, draw: float = NEARLY, took: float = 0
) -> LLMFactory:
    """Make a factory whose providers play scripts, and take so many seconds for each line."""

    def act(request: Any) -> None:
        clock.advance(took)

    cast = [
        ScriptedProvider(f"player {number}", script, capabilities=IN_PLACE, act=act)
        for number, script in enumerate(scripts)
    ]
    return LLMFactory(
        cast[0],
        cast[1:],
        policy=policy,
        health_store=store,
        runtime=clock.runtime(lambda: draw),
        settings=NOTHING,
        extensions=[],
    )


def play(
    policy: Policy, *scripts: list[Any], calls: int = 1, draw: float = NEARLY, took: float = 0, **options: Any
) -> tuple[LLMFactory, VirtualClock]:
    """Make a factory, and make calls."""
    clock = VirtualClock()
    factory = build(policy, *scripts, clock=clock, draw=draw, took=took)
    for _ in range(calls):
        factory.generate_content("Hello", **options)
    return factory, clock


def evidence(kind: type[Failure]) -> float:
    """Return the seconds that an attempt must take for its failure to say something of its target."""
    return 1.0 if kind is Timeout else 0.0


def requests_to(factory: LLMFactory, index: int) -> int:
    return len(factory.route[index][1].requests)  # type: ignore[attr-defined]  # a ScriptedProvider has them


def health_of(factory: LLMFactory) -> dict[str, Any]:
    health: dict[str, Any] = factory.get_provider_status()["primary"]["health"]
    return health


QUICK = re.compile(r"[Tt]he same target (once more|up to (\d+) times), after ([\d.]+) to ([\d.]+) s, if .*? lately\. ?")


def quick_told(words: str) -> list[tuple[float, float]]:
    """Return the shortest and the longest wait before each quick retry that an explanation names."""
    found = QUICK.search(words)
    return [] if found is None else [(float(found[3]), float(found[4]))] * int(found[2] or 1)


def waits_told(words: str) -> list[float]:
    """Return the longest waits before the further retries that an explanation names."""
    found = re.search(
        r"(once|up to (\d+) times), after (between 0 and )?(.+?)(, as far as|\. Then|\.$|\. [A-Z])",
        QUICK.sub("", words),
    )
    if found is None:
        return []
    waits = [float(word) for word in re.findall(r"[\d.]+", found[4])]
    return waits + waits[-1:] * (int(found[2] or 1) - len(waits)) if "each time" in found[4] else waits


@each_policy
def test_each_failure_leads_to_what_is_told(policy: Policy, caplog: pytest.LogCaptureFixture) -> None:
    for kind in RAISED:
        caplog.clear()
        took = evidence(kind)
        factory, clock = play(policy, [kind("played")], ON, took=took)
        beside, goes_on = clock.waits, requests_to(factory, 1) == 1
        logged = "ERROR" in [record.levelname for record in caplog.records]
        alone = play(policy, [kind("played")], took=took)[1].waits
        shortest = play(policy, [kind("played")], draw=0.0, took=took)[1].waits

        words = rows(policy)[kind.__name__]
        quick, rest = quick_told(words), QUICK.sub("", words)
        insists = "he same target again" in rest or "Then again" in rest
        told = {
            "ends": "he call ends" in words,
            "insists": insists,
            "goes on": "he next target" in rest or "Then the next one" in rest,
            "at once": "he next target, at once" in words,
            "comes back": "only when all have failed" in words,
            "logs an error": "ERROR" in words,
        }
        seen = {
            "ends": not goes_on,
            "insists": len(beside) > len(quick),
            "goes on": goes_on,
            "at once": goes_on and not beside,
            "comes back": bool(goes_on and len(alone) > len(quick) == len(beside)),
            "logs an error": goes_on and logged,
        }
        assert (kind, told) == (kind, seen)
        waits = [most for _, most in quick] + waits_told(words)
        assert "after then" not in words
        assert waits[: len(alone)] == pytest.approx(alone), kind
        assert len(waits) == len(alone) or "as far as the deadline" in words, kind
        assert [least for least, _ in quick] == pytest.approx(shortest[: len(quick)]), kind


def until_it_rests(factory: LLMFactory, hint: float | None = None) -> tuple[int, float]:
    """Call until the first target is left alone, 12 times at most; return how often it was, and for how long it is."""
    for number in range(1, 13):
        factory.generate_content("Hello", max_retries=0)
        if health_of(factory)["free_in"]:
            return number, health_of(factory)["free_in"]
    return 0, 0.0


@each_policy
def test_each_failure_is_remembered_as_it_is_told(policy: Policy) -> None:
    for kind in RAISED:
        words = rows(policy)[kind.__name__]
        alone, clock = play(policy, [kind("played")], calls=0, took=evidence(kind))
        number, first = until_it_rests(alone)
        refused = bool(alone._admission.look(0).refused)
        state = health_of(alone)["state"] if number else ""
        cools, rests = "cools down" in words, "It rests" in words
        told = "Counts for the circuit breaker" in words, cools, rests
        assert (kind, *told) == (kind, state == "open", state == "cooling" and not refused, refused)
        if not cools and not rests:
            continue
        calls = re.search(r"When (?:(\d+) different calls were|a call was) refused within", words)
        again = "if that is told the same" in words
        assert number == (int(calls[1] or 1) if calls else 1 + again), kind
        seconds = [first]
        if "vendor says" in words:
            hinted, _ = play(policy, [kind("played", retry_after=1e6)], calls=0)
            seconds.insert(0, until_it_rests(hinted)[1])
        if "longer each time" in words:
            for _ in range(20):
                clock.now += health_of(alone)["free_in"]
                seconds[1 + ("vendor says" in words) :] = [until_it_rests(alone)[1]]
        told_seconds = re.findall(r"[\d.]+(?= s\b)", re.split(r"cools down|It rests", words)[1])
        assert [float(number) for number in told_seconds] == pytest.approx(seconds), kind


@each_policy
def test_every_failure_of_the_tree_is_told_once_in_lines_that_fit(policy: Policy) -> None:
    text = policy.explain()
    for kind in leaves():
        assert len(re.findall(rf"^  {kind.__name__}\b", text, re.MULTILINE)) == 1
    assert [line for line in text.splitlines() if len(line) > 80 or line != line.rstrip()] == []
    assert not re.search(r"\d\n *(s|%)\b", text)


class RestingStore(InMemoryHealthStore):
    """Lets a target rest for some seconds, for the reason that is given."""

    def __init__(self, clock: VirtualClock, reason: str, resting: tuple[str, ...], seconds: float) -> None:
        super().__init__(lambda: clock.now)
        self.clock, self.reason, self.resting, self.seconds = clock, reason, resting, seconds

    def take(self, target: str, claim: Any) -> Lease:
        if target.startswith(self.resting) and not claim.forced and self.clock.now < self.seconds:
            return Lease(False, BreakerState.OPEN, self.seconds - self.clock.now, self.reason)
        return super().take(target, claim)


@each_policy
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (CircuitOpen, "breaker"),
        (CoolingDown, "cooldown"),
        (NeedsAttention, "refusal"),
        (LimitReached, "9 requests a minute"),
    ],
)
def test_a_target_that_rests_is_passed_over_as_it_is_told(kind: type[Failure], reason: str, policy: Policy) -> None:
    words = rows(policy)[kind.__name__]

    def asked(
        resting: tuple[str, ...], *scripts: list[Any], seconds: float = 1
    ) -> tuple[list[int], LLMResponse, list[float]]:
        clock = VirtualClock()
        factory = build(policy, *scripts, clock=clock, store=RestingStore(clock, reason, resting, seconds))
        response = factory.generate_content("Hello")
        return [requests_to(factory, 0), requests_to(factory, 1)], response, clock.waits

    requests, response, _ = asked(("player 0/",), ["late"], ON)
    assert requests == [0, 1]
    assert type(response.attempts[0].failure) is kind
    assert "Skipped without a request: the next target." in words
    requests, _, waits = asked(("player 0/",), ["late"], [AuthenticationFailed()])
    assert ("it is waited for" in words) is bool(waits)
    assert ("waited for" in words or "asked once anyway" in words) is (requests[0] == 1)
    requests, _, waits = asked(("player 0/",), ["late"], [AuthenticationFailed()], seconds=2 * policy.max_delay + 2)
    assert waits == []
    assert ("asked once anyway" in words) is (requests[0] == 1)
    requests, _, waits = asked(("player 0/", "player 1/"), ["late"], ["late"])
    at_once = "where every target rests, it is asked at once" in words or "anyway, at once" in words
    assert at_once is (sum(requests) == 1 and not waits)


@each_policy
def test_a_vendors_hint_does_what_is_told(policy: Policy) -> None:
    longest = re.search(r"more than ([\d.]+) s", rows(policy)["a vendor's hint"])
    assert longest
    limit = float(longest[1])
    lasting = replace(policy, deadline=None)
    _, none = play(lasting, [Overloaded()])
    _, longer = play(lasting, [Overloaded(retry_after=limit)])
    assert longer.waits == pytest.approx([max(wait, limit) for wait in none.waits])
    assert play(lasting, [Overloaded(retry_after=limit + 1)])[1].waits == []
    assert play(lasting, [Overloaded(retryable=False)])[1].waits == []


@pytest.mark.parametrize("recovery", ["raise", "restart", "continue", "buffer"])
def test_a_broken_stream_is_taken_up_as_it_is_told(recovery: Any) -> None:
    policy = Policy.eager(stream_recovery=recovery, buffer_tokens=1)
    words = rows(policy)["StreamInterrupted"]
    assert ("a stream's beginning" in rows(policy)) is (recovery == "buffer")
    first = ScriptedProvider("first", [("The show", ConnectionFailed())])
    second = ScriptedProvider("second", capabilities=Capabilities(streaming=True, prefill=True))
    stream = LLMFactory(first, [second], policy=policy, settings=NOTHING, extensions=[]).stream_content("Hello")
    assert next(stream) == TextDelta("The show")
    if "After it: StreamInterrupted is raised, with the text so far." in words:
        with pytest.raises(StreamInterrupted) as caught:
            next(stream)
        assert caught.value.partial == "The show"
    else:
        news = type(next(stream))
        assert news in (Restart, Continuation)
        assert f"After it: a {news.__name__} event" in words
        *_, last = stream
        assert isinstance(last, Finish)


@pytest.mark.parametrize("policy", [Policy(), Policy(switch_on_length=True)])
def test_an_answer_that_was_cut_is_treated_as_it_is_told(policy: Policy) -> None:
    factory, _ = play(policy, [LLMResponse(True, "The show", finish_reason=FinishReason.LENGTH)], ON)
    assert ("Refused" in rows(policy)["cut at max_tokens"]) is (requests_to(factory, 1) == 1)


def test_a_bad_answer_breaks_a_stream_as_it_is_told() -> None:
    assert "In a stream that has begun, it counts as a break." in rows(Policy())["a bad answer"]
    provider = ScriptedProvider("player", [("The show", " ends")])
    factory = LLMFactory(provider, [], settings=NOTHING, extensions=[])
    with pytest.raises(StreamInterrupted):
        list(factory.stream_content("Hello", validator=lambda response: "goes on" in response.content))


@pytest.mark.parametrize("deadline", [7.5, 30])
def test_a_deadline_is_shared_out_as_it_is_told(deadline: float) -> None:
    policy = Policy.eager(deadline=deadline)
    told = re.search(r"of two ([\d.]+) s, of three ([\d.]+) s", rows(policy)["the whole call"])
    assert told
    for number, seconds in ((2, told[1]), (3, told[2])):
        factory, _ = play(policy, *[ON] * number)
        (request,) = factory.route[0][1].requests  # type: ignore[attr-defined]  # a ScriptedProvider has them
        assert request.timeout == pytest.approx(float(seconds))


# ---- times ----

FOUND = re.compile(r"([\d.]+) times .*?, from ([\d.]+) to ([\d.]+) s")


def expected(found: re.Match[str], p95: float) -> float:
    """Return the time that an explanation says follows from what was learnt."""
    factor, least, most = (float(number) for number in found.groups())
    return min(max(factor * p95, least), most)


@pytest.mark.parametrize("p95", [0.1, 40.0, 400.0])
def test_a_whole_answer_is_waited_for_as_it_is_told(p95: float) -> None:
    words = rows(Policy())["one attempt"]
    first = re.search(r"at first ([\d.]+) s for 1024 tokens; once 20 are known", words)
    found = FOUND.search(words)
    assert first
    assert found
    factory, _ = play(Policy(), ON, calls=21, took=p95)
    requests = factory.route[0][1].requests  # type: ignore[attr-defined]  # a ScriptedProvider has them
    assert requests[0].timeout == pytest.approx(float(first[1]), abs=0.05)
    assert requests[20].timeout == pytest.approx(expected(found, p95))


@pytest.mark.parametrize("p95", [0.1, 20.0, 5000.0])
def test_a_stream_is_waited_for_as_it_is_told(p95: float) -> None:
    first, between = re.findall(
        r"(?:First piece|Between two pieces): ([^.]*(?:\.\d[^.]*)*)\.", rows(Policy())["a stream"]
    )
    for words, learned, thinking in (
        (first, Learned(first_p95=p95), "first"),
        (between, Learned(gap_p95=p95), "idle"),
    ):
        at_first, thinks = (re.search(rf"{name} ([\d.]+) s", words) for name in ("at first", "of a model that thinks"))
        found = FOUND.search(words)
        assert at_first
        assert thinks
        assert found
        times = [
            getattr(times_for(Policy(), HELLO, pace, known, streamed=True, whole=False), thinking)
            for pace, known in ((Pace(), NOTHING_LEARNT), (Pace(thinks=True), NOTHING_LEARNT), (Pace(), learned))
        ]
        assert times == pytest.approx([float(at_first[1]), float(thinks[1]), expected(found, p95)])


def test_times_that_are_named_are_told_and_kept_to() -> None:
    policy = Policy(attempt_timeout=9.0)
    assert rows(policy)["one attempt"].startswith("9 s for a whole answer.")
    assert rows(policy)["a stream"].startswith("First piece: 9 s. Between two pieces: 9 s.")
    policy = Policy(first_token_timeout=7.0, idle_timeout=8.0)
    assert rows(policy)["a stream"].startswith("First piece: 7 s. Between two pieces: 8 s.")
    assert rows(Policy(idle_timeout=8.0))["a stream"].startswith("First piece: at first 60 s")


@pytest.mark.parametrize("seconds", [20.0, 50.0])
def test_silence_is_waited_for_as_it_is_told(seconds: float) -> None:
    policy = Policy(silence_timeout=seconds)
    assert f"signs of life while it works: {seconds:g} s without any" in rows(policy)["a stream"]
    assert times_for(policy, HELLO, Pace(heartbeat=1.0), streamed=True, whole=True).silence == seconds


@pytest.mark.parametrize(
    ("policy", "words", "streamed"),
    [
        (Policy(), "more than 2000 tokens", [False, True]),
        (Policy(whole_answers="stream"), "It is requested as a stream internally.", [True, True]),
        (Policy(whole_answers="plain"), "It is never requested as a stream.", [False, False]),
        (Policy(whole_answers="plain", attempt_timeout=9), "It is never requested as a stream.", [False, False]),
    ],
)
def test_a_whole_answer_is_asked_for_as_it_is_told(policy: Policy, words: str, streamed: list[bool]) -> None:
    assert words in rows(policy)["one attempt"]
    for tokens, inside in zip((2000, 2001), streamed, strict=True):
        factory, _ = play(policy, ON, max_tokens=tokens)
        (request,) = factory.route[0][1].requests  # type: ignore[attr-defined]  # a ScriptedProvider has them
        assert request.whole is inside


@pytest.mark.parametrize("policy", [Policy.eager(max_retries=1), Policy(max_retries=1)])
def test_who_was_slow_is_asked_again_as_it_is_told(policy: Policy) -> None:
    words = rows(policy)["Timeout"]
    assert "Only as the last target where it answered others meanwhile" in words
    longest = re.search(r"not where it took ([\d.]+) s or more and another target is left", words)
    for took in (1.0, policy.max_delay - 1, policy.max_delay):
        factory, _ = play(policy, [Timeout("played"), "late"], ON, took=took)
        if longest is None:
            assert requests_to(factory, 1) == 1
        else:
            assert requests_to(factory, 1) == (1 if took >= float(longest[1]) else 0)
        assert requests_to(play(policy, [Timeout("played"), "late"], took=took)[0], 0) == 2


# ---- two at once ----


def hung(policy: Policy, answered: int = 0, seconds: float = 1.0, **options: Any) -> float:
    """Return after how many seconds a second target is asked, where the first hangs after so many answers."""
    clock = VirtualClock()
    first = Player("first", *[(seconds, "fine")] * answered, (1e6, "late"))
    second = Player("second", "quick")
    first.clock = second.clock = clock
    factory = LLMFactory(
        first, [second], policy=policy, settings=NOTHING, extensions=[], runtime=clock.runtime(lambda: NEARLY)
    )
    for _ in range(answered):
        assert clock.run(factory.agenerate_content("Hello", policy=Policy())).provider_name == "first"
    begun = clock.now
    assert clock.run(factory.agenerate_content("Hello", **options)).provider_name == "second"
    return float(second.times[0] - begun)


@pytest.mark.parametrize("p95", [0.1, 5.0, 80.0])
def test_the_next_target_is_asked_beside_a_late_one_as_it_is_told(p95: float) -> None:
    words = rows(Policy.eager())["hedging"]
    at_first = re.search(r"at first ([\d.]+) s", words)
    found = FOUND.search(words)
    assert at_first
    assert found
    assert hung(Policy.eager()) == pytest.approx(float(at_first[1]))
    assert hung(Policy.eager(), 20, p95) == pytest.approx(expected(found, p95))


def test_a_share_of_the_deadline_is_told_and_kept() -> None:
    policy = Policy.eager(deadline=30)
    assert "where its share of the deadline is over" in rows(policy)["hedging"]
    told = re.search(r"of two ([\d.]+) s.*asked beside it", rows(policy)["the whole call"])
    assert told
    assert hung(policy) == pytest.approx(float(told[1]))
    assert "Then the next one is asked instead" in rows(Policy(deadline=30))["the whole call"]
    assert "share of the deadline" not in rows(Policy.eager())["hedging"]


@pytest.mark.parametrize("policy", [Policy(), Policy.eager(hedge_after=None)])
def test_who_hedges_nobody_says_so(policy: Policy) -> None:
    assert rows(policy)["hedging"] == "Off: never two targets at once, but for a probe."


# ---- the breaker ----


@pytest.mark.parametrize("policy", [Policy(), Policy.eager()], ids=["patient", "eager"])
def test_a_few_failures_open_a_circuit_where_there_is_little_traffic_as_it_is_told(policy: Policy) -> None:
    told = re.search(r"little traffic, (\d+) in a row over ([\d.]+) s are enough", rows(policy)["circuit breaker"])
    assert told
    few, seconds = int(told[1]), float(told[2])
    for step, state in ((seconds / (few - 1), "open"), (seconds / few, "closed")):
        factory, clock = play(policy, [ServerError()], ON, max_retries=0)
        for _ in range(few - 1):
            clock.advance(step)
            factory.generate_content("Hello", max_retries=0)
        assert health_of(factory)["state"] == state


@pytest.mark.parametrize("policy", [Policy(), Policy.eager()], ids=["patient", "eager"])
def test_a_circuit_that_was_closed_too_soon_opens_as_it_is_told(policy: Policy) -> None:
    words = rows(policy)["circuit breaker"]
    told = re.search(r"Within ([\d.]+) s of that, (\d+) calls that fail are enough, for the longer time", words)
    assert told
    rest, longest = (float(number) for number in re.findall(r"([\d.]+) s", words)[:2])
    for later, state in ((0.0, "open"), (float(told[1]) + 1, "closed")):
        factory, clock = play(policy, [ServerError()], calls=12, max_retries=0)
        assert health_of(factory)["free_in"] == pytest.approx(rest * (1 + policy.breaker_jitter), rel=0.1)
        clock.advance(10.0)
        factory.route[0][1].script = ["fine"]  # type: ignore[attr-defined]  # a ScriptedProvider has one
        factory.generate_content("Hello")
        assert health_of(factory)["state"] == "closed"
        clock.advance(later)
        factory.route[0][1].script = [ServerError()]  # type: ignore[attr-defined]  # a ScriptedProvider has one
        for _ in range(int(told[2])):
            factory.generate_content("Hello", max_retries=0)
        assert health_of(factory)["state"] == state
        if state == "open":
            assert health_of(factory)["free_in"] >= longest


# ---- the rest ----


def test_calls_under_way_are_limited_as_it_is_told() -> None:
    policy = Policy(max_concurrent_calls=1)
    assert rows(policy)["calls under way"] == "1; one more is refused at once, as TooManyCalls."
    inner: list[LLMResponse] = []
    provider = ScriptedProvider("player", act=lambda request: inner.append(factory.generate_content("Another")))
    factory = LLMFactory(provider, [], policy=policy, settings=NOTHING, extensions=[])
    assert factory.generate_content("Hello").success
    assert isinstance(inner[0].failure, TooManyCalls)


# A value for each field that differs from those of the presets.
OTHERS: dict[str, Any] = {
    "max_retries": 3,
    "retry_delay": 0.7,
    "max_delay": 7.0,
    "jitter": "full",
    "switch_first": True,
    "quick_retries": 2,
    "deadline": 45.0,
    "attempt_timeout": 11.0,
    "first_token_timeout": 12.0,
    "idle_timeout": 13.0,
    "silence_timeout": 44.0,
    "whole_answers": "stream",
    "minimum_attempt": 0.3,
    "switch_on_refusal": False,
    "switch_on_content_blocked": True,
    "switch_on_length": True,
    "stream_recovery": "restart",
    "buffer_tokens": 17,
    "breaker": False,
    "breaker_failures": 18,
    "breaker_rate": 0.19,
    "breaker_window": 21.0,
    "breaker_memory": 22.0,
    "breaker_requests": 2,
    "breaker_open": 23.0,
    "breaker_longest": 240.0,
    "breaker_jitter": 0.25,
    "breaker_successes": 4,
    "quota_cooldown": True,
    "quota_calls": 6,
    "refusal_cooldown": 41.0,
    "longest_hint": 26.0,
    "rate_limit_cooldown": 27.0,
    "exhausted_cooldown": 28.0,
    "longest_cooldown": 2900.0,
    "retry_budget": 0.31,
    "retry_reserve": 3.2,
    "max_concurrent_calls": 33,
    "routing": weighted({"gemini": 34}),
    "hedge_after": 3.5,
    "hedge_share": 0.36,
    "hedge_cost": 0.37,
}
# Without these, some numbers mean nothing, and are not told.
TOLD_WITH = {"deadline": 90.0, "stream_recovery": "buffer", "quota_cooldown": True, "hedge_after": 1.0}


@pytest.mark.parametrize("name", [field.name for field in fields(Policy)])
def test_every_number_is_told(name: str) -> None:
    base = Policy(**{key: value for key, value in TOLD_WITH.items() if key != name})  # type: ignore[arg-type]  # fields
    changed = replace(base, **{name: OTHERS[name]})
    title, _, body = changed.explain().partition("A target is")
    assert body != base.explain().partition("A target is")[2]
    assert f"{name}={OTHERS[name]!r}" in " ".join(title.split())


def test_very_many_retries_are_told_without_playing_them_all() -> None:
    words = rows(Policy(max_retries=10**9))["Timeout"]
    assert words.startswith(
        "The same target again, up to 1000000000 times, after 5, 10, 20, 40 and then 60 s each time."
    )


def test_a_preset_is_called_by_its_name() -> None:
    assert Policy.eager().explain().splitlines()[0] == "Policy eager"
    assert Policy().explain().splitlines()[0] == "Policy patient"
    assert Policy.eager(max_retries=2).explain().splitlines()[0] == "Policy eager, with max_retries=2"
