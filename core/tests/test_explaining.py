"""What `Policy.explain()` says is what a real factory does: each failure is played, and both are compared."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest

from understudy import (
    AuthenticationFailed,
    BreakerState,
    Capabilities,
    CircuitOpen,
    ConnectionFailed,
    Continuation,
    CoolingDown,
    Failure,
    Finish,
    FinishReason,
    InMemoryHealthStore,
    Lease,
    LimitReached,
    LLMFactory,
    LLMResponse,
    Overloaded,
    Policy,
    Restart,
    Settings,
    StreamInterrupted,
    TargetResting,
    TextDelta,
    TooManyCalls,
    errors,
    weighted,
)
from understudy.testing import ScriptedProvider, VirtualClock

NOTHING = Settings(environment={}, directory="/")
NEARLY = 1 - 1e-9  # the longest waits that the jitter draws
ON = ["The show goes on."]
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


def build(policy: Policy, *scripts: list[Any], clock: VirtualClock, store: Any = None) -> LLMFactory:
    """Make a factory whose providers play scripts."""
    cast = [ScriptedProvider(f"player {number}", script) for number, script in enumerate(scripts)]
    runtime = clock.runtime(lambda: NEARLY)
    return LLMFactory(
        cast[0], cast[1:], policy=policy, health_store=store, runtime=runtime, settings=NOTHING, extensions=[]
    )


def play(policy: Policy, *scripts: list[Any], calls: int = 1, **options: Any) -> tuple[LLMFactory, VirtualClock]:
    """Make a factory, and make calls."""
    clock = VirtualClock()
    factory = build(policy, *scripts, clock=clock)
    for _ in range(calls):
        factory.generate_content("Hello", **options)
    return factory, clock


def requests_to(factory: LLMFactory, index: int) -> int:
    return len(factory.route[index][1].requests)  # type: ignore[attr-defined]  # a ScriptedProvider has them


def health_of(factory: LLMFactory) -> dict[str, Any]:
    health: dict[str, Any] = factory.get_provider_status()["primary"]["health"]
    return health


def waits_told(words: str) -> list[float]:
    """Return the longest waits that an explanation names."""
    found = re.search(
        r"(once|up to (\d+) times), after (between 0 and )?(.+?)(, as far as|\. Then|\.$|\. [A-Z])", words
    )
    if found is None:
        return []
    waits = [float(word) for word in re.findall(r"[\d.]+", found[4])]
    return waits + waits[-1:] * (int(found[2] or 1) - len(waits)) if "each time" in found[4] else waits


@each_policy
def test_each_failure_leads_to_what_is_told(policy: Policy, caplog: pytest.LogCaptureFixture) -> None:
    for kind in RAISED:
        caplog.clear()
        factory, clock = play(policy, [kind("played")], ON)
        beside, goes_on = clock.waits, requests_to(factory, 1) == 1
        logged = "ERROR" in [record.levelname for record in caplog.records]
        alone = play(policy, [kind("played")])[1].waits

        words = rows(policy)[kind.__name__]
        told = {
            "ends": "he call ends" in words,
            "insists": "he same target again" in words,
            "at once": "he next target, at once" in words,
            "comes back": "only when all have failed" in words,
            "logs an error": "ERROR" in words,
        }
        seen = {
            "ends": not goes_on,
            "insists": bool(beside),
            "at once": goes_on and not beside,
            "comes back": bool(goes_on and alone and not beside),
            "logs an error": goes_on and logged,
        }
        assert (kind, told) == (kind, seen)
        waits = waits_told(words)
        assert "after then" not in words
        assert waits[: len(alone)] == pytest.approx(alone), kind
        assert len(waits) == len(alone) or "as far as the deadline" in words, kind


@each_policy
def test_each_failure_is_remembered_as_it_is_told(policy: Policy) -> None:
    for kind in RAISED:
        words = rows(policy)[kind.__name__]
        many, _ = play(policy, [kind("played")], ON, calls=12, max_retries=0)
        once, clock = play(policy, [kind("played")], ON, max_retries=0)
        told = "Counts for the circuit breaker" in words, "cools down" in words
        assert (kind, *told) == (kind, health_of(many)["state"] == "open", health_of(once)["state"] == "cooling")
        assert told[1] or not health_of(once)["free_in"]
        if told[1]:
            hinted, _ = play(policy, [kind("played", retry_after=1e6)], ON)
            seconds = [health_of(each)["free_in"] for each in (hinted, once)]
            for _ in range(20):
                clock.now += health_of(once)["free_in"]
                once.generate_content("Hello")
            seconds = seconds if "vendor says" in words else seconds[1:]
            seconds += [health_of(once)["free_in"]] if "longer each time" in words else []
            assert [float(number) for number in re.findall(r"[\d.]+(?= s\b)", words)] == pytest.approx(seconds), kind


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
    ("kind", "reason"), [(CircuitOpen, "breaker"), (CoolingDown, "cooldown"), (LimitReached, "9 requests a minute")]
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
    assert "Passed over without a request: the next target." in words
    requests, _, _ = asked(("player 0/",), ["late"], [AuthenticationFailed()])
    assert ("Asked after all" in words) is (requests[0] == 1)
    requests, _, waits = asked(("player 0/", "player 1/"), ["late"], ["late"])
    assert ("Where every target rests" in words) is (sum(requests) == 1)
    assert ("is waited for" in words) is bool(waits)
    if "Where every target rests" in words:
        requests, _, waits = asked(("player 0/", "player 1/"), ["late"], ["late"], seconds=2 * policy.max_delay + 2)
        assert waits == []
        assert ("asked once" in words) is (sum(requests) == 1)


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
def test_a_deadline_is_sliced_as_it_is_told(deadline: float) -> None:
    policy = Policy.eager(deadline=deadline)
    told = re.search(r"of two gets ([\d.]+) s, of three ([\d.]+) s", rows(policy)["the whole call"])
    assert told
    for number, seconds in ((2, told[1]), (3, told[2])):
        factory, _ = play(policy, *[ON] * number)
        (request,) = factory.route[0][1].requests  # type: ignore[attr-defined]  # a ScriptedProvider has them
        assert request.timeout == pytest.approx(float(seconds))


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
    "deadline": 45.0,
    "attempt_timeout": 11.0,
    "first_token_timeout": 12.0,
    "idle_timeout": 13.0,
    "minimum_attempt": 0.3,
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
