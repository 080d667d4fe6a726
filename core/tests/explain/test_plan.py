"""A plan is what the call then does: both are made on the same stage, and compared. Planning itself touches nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from timed import Player

from understudy import Capabilities, Limits, LLMFactory, LLMResponse, Message, Policy, Settings, Tool, weighted
from understudy.errors import (
    AuthenticationFailed,
    ContextTooLong,
    RateLimited,
    ServerError,
    TargetResting,
    TooManyCalls,
)
from understudy.explain import Plan
from understudy.extras.pricing import estimate
from understudy.health import InMemoryHealthStore
from understudy.provider import Pace
from understudy.testing import ScriptedProvider, VirtualClock

NOTHING = Settings(environment={}, directory="/")
NEARLY = 1 - 1e-9  # the longest waits that the jitter draws
PLAIN = Capabilities(streaming=True, native_async=True, keeps_deadline=True)  # so that sync calls run in place
TOOLS = replace(PLAIN, tools=True)
LOOK = Tool(name="look", description="Looks.", parameters={"type": "object", "properties": {}})
SENSITIVE: dict[str, Any] = {"breaker_failures": 1, "breaker_requests": 1, "breaker_jitter": 0}


@dataclass
class Stage:
    """A factory with three players, and what happened before the call.

    Args:
        policy: the factory's.
        options: the call's.
        players: changes to the providers, by their number.
        limits: the factory's.
        before: what happens first.
        later: seconds from then to the call.
        probed: whether the first target's attempt is a probe then.
    """

    policy: Policy = field(default_factory=Policy)
    options: dict[str, Any] = field(default_factory=dict)
    players: dict[int, dict[str, Any]] = field(default_factory=dict)
    limits: dict[str, Limits] = field(default_factory=dict)
    before: Callable[[Any], None] = lambda stage: None
    later: float = 0.0
    probed: bool = False

    def set_up(self) -> Stage:
        self.clock = VirtualClock()
        self.hang = False
        changes = [{"capabilities": PLAIN, **self.players.get(n, {})} for n in range(3)]
        self.cast = [ScriptedProvider(f"p{n}", act=self.act, **each) for n, each in enumerate(changes)]
        runtime = self.clock.runtime(lambda: NEARLY)
        self.store = InMemoryHealthStore(runtime.clock, lambda: 0.0)
        self.factory = LLMFactory(
            self.cast[0],
            self.cast[1:],
            policy=self.policy,
            limits=self.limits,
            health_store=self.store,
            runtime=runtime,
            settings=NOTHING,
            extensions=[],
        )
        self.before(self)
        self.clock.advance(self.later)
        for provider in self.cast:
            provider.requests.clear()
        return self

    def act(self, request: Any) -> None:
        if self.hang:
            self.clock.advance(request.timeout)

    def call(self, *scripts: Any) -> LLMResponse:
        """Make a call in which the players do these things over and over."""
        for provider, script in zip(self.cast, scripts, strict=True):
            provider.script = [script]
        return self.factory.generate_content("Hello", **self.options)

    def plan(self) -> Plan:
        return self.factory.plan("Hello", **self.options)

    def number_of(self, label: str) -> int:
        return int(label.removeprefix("p"))


def fail(*numbers: int, kind: Any = ServerError) -> Callable[[Stage], None]:
    """Return what lets these players fail once, before the call."""

    def before(stage: Stage) -> None:
        stage.call(*(kind("before") if n in numbers else ContextTooLong() for n in range(3)))

    return before


def spend(stage: Stage) -> None:
    stage.call("Hello.", "Hello.", "Hello.")


def measure(stage: Stage) -> None:
    """Let the players answer after 3, 1 and 2 s."""
    for number, seconds in enumerate((3.0, 1.0, 2.0)):
        stage.cast[number].act = lambda request, seconds=seconds: stage.clock.advance(seconds)
    for number in range(3):
        stage.call(*("Hello." if n == number else ContextTooLong() for n in range(3)))
    for provider in stage.cast:
        provider.act = stage.act


STAGES = {
    "patient": Stage(),
    "eager": Stage(Policy.eager()),
    "patient with a deadline": Stage(options={"deadline": 30}),
    "eager with a deadline": Stage(Policy.eager(), {"deadline": 10}),
    "no retries": Stage(options={"max_retries": 0}),
    "other delay": Stage(Policy.eager(), {"retry_delay": 2, "timeout": 7}),
    "nobody has a key": Stage(players={n: {"unavailable": f"P{n}_API_KEY is not set"} for n in range(3)}),
    "the first has no key": Stage(Policy.eager(), players={0: {"unavailable": "P0_API_KEY is not set"}}),
    "the second has no key": Stage(players={1: {"unavailable": "P1_API_KEY is not set"}}, options={"deadline": 20}),
    "tools": Stage(options={"tools": [LOOK]}, players={2: {"capabilities": TOOLS}}),
    "the first is open": Stage(Policy(**SENSITIVE), before=fail(0), later=3),
    "the call's model is open": Stage(Policy(**SENSITIVE), {"model": "own"}, before=fail(0), later=3),
    "the first is open for long": Stage(Policy.eager(**SENSITIVE), before=fail(0), later=3),
    "the first is half-open": Stage(Policy.eager(**SENSITIVE), before=fail(0), later=20, probed=True),
    "the patient's first is half-open": Stage(Policy(**SENSITIVE), before=fail(0), later=20, probed=True),
    "the first refused its key": Stage(Policy.eager(), before=fail(0, kind=AuthenticationFailed), later=1),
    "the first was refused once": Stage(Policy.eager(), before=fail(0, kind=RateLimited), later=1),
    "the first cools down": Stage(Policy.eager(quota_calls=1), before=fail(0, kind=RateLimited), later=1),
    "everybody is open": Stage(Policy.eager(**SENSITIVE), before=fail(0, 1, 2), later=1),
    "everybody cools down": Stage(
        Policy(quota_cooldown=True, quota_calls=1), before=fail(0, 1, 2, kind=RateLimited), later=1
    ),
    "the limit is reached": Stage(Policy.eager(), limits={"p0": Limits(requests_per_minute=1)}, before=spend),
    "the limit is not reached": Stage(limits={"p0": Limits(requests_per_minute=2)}, before=spend),
    "the request is too large": Stage(limits={"p1": Limits(tokens_per_minute=1000)}),
    "the request does not fit": Stage(limits={"p0": Limits(tokens_per_minute=1030)}, before=spend),
    "the limit is over": Stage(limits={"p0": Limits(requests_per_minute=1)}, before=spend, later=90),
    "fastest": Stage(Policy.eager(routing="fastest"), before=measure),
    "by weight": Stage(Policy.eager(routing=weighted({"p1": 1}))),
    "no budget": Stage(Policy(retry_budget=0, retry_reserve=0)),
    "a small budget": Stage(Policy(retry_budget=0, retry_reserve=0.2)),
}


@pytest.fixture(params=list(STAGES.values()), ids=list(STAGES))
def stage(request: pytest.FixtureRequest) -> Stage:
    made: Stage = request.param
    return made.set_up()


def first_attempts(response: LLMResponse) -> Iterator[tuple[str, bool]]:
    """Yield each target that was come to, once, and whether it was ever asked."""
    asked = {attempt.target for attempt in response.attempts if attempt.number}
    for label in dict.fromkeys(attempt.target for attempt in response.attempts):
        yield label, label in asked


def test_the_plan_is_the_order_and_the_time_of_a_call_in_which_everybody_hangs(stage: Stage) -> None:
    plan = stage.plan()
    stage.hang = True
    response = stage.call(*[ContextTooLong()] * 3)
    come_to = list(first_attempts(response))
    assert [one.label for one in plan.targets] == [label for label, _ in come_to]
    asked = [one for one in plan.targets if one.part != "skipped"]
    parts = ["asked", "asked" if stage.probed else "only if", "only if"]
    assert [one.part for one in asked] == parts[: len(asked)]
    for one in asked:
        provider = stage.cast[stage.number_of(one.label)]
        assert provider.requests[0].timeout == pytest.approx(one.timeout)
    for one in plan.targets:
        first = next(attempt for attempt in response.attempts if attempt.target == one.label)
        assert first.breaker == one.breaker or first.breaker == "half-open"  # its time was over just then
        if one.part == "skipped":
            failure = first.failure
            assert failure is not None
            resting = isinstance(failure, TargetResting)  # how long, may have changed since
            words = failure.summary if resting else failure.message
            assert one.why.startswith(words)
            assert ("asked then" in one.why) is dict(come_to)[one.label]


def test_the_plan_says_what_follows_a_passing_failure(stage: Stage) -> None:
    before: list[int] = []
    for one in stage.plan().targets:
        number = stage.number_of(one.label)
        if one.part == "skipped":
            assert one.on_failure == ""
            continue
        played = stage.set_up()
        scripts: list[Any] = ["Hello."] * 3
        for other in before:
            scripts[other] = ContextTooLong()
        scripts[number] = ServerError()
        played.clock.waits.clear()
        response = played.call(*scripts)
        mine = [attempt for attempt in response.attempts if attempt.target == one.label and attempt.number]
        retries, seconds = len(mine) - 1, sum(attempt.wait for attempt in mine[1:])
        words = f"{retries} {'retry' if retries == 1 else 'retries'} within {seconds:.6g} s, then "
        then = response.provider_name if response.success else "the call has failed"
        up_to = "up to " if stage.policy.jitter == "full" else ""
        soon = f"after {played.clock.waits[0]:g} s" if played.clock.waits else "at once"
        told = f"{up_to}{words}{then}" if retries else f"{then}, {soon}" if response.success else then
        if stage.policy.breaker_requests > 1:  # else its own failures open its circuit
            assert one.on_failure == told
        before.append(number)


def test_planning_sends_takes_and_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> Any:
        raise AssertionError("expected the store to be looked at alone")

    admission = stage.factory._admission
    left = admission.retries.left(), stage.clock.now
    first = stage.plan()
    monkeypatch.setattr(stage.store, "take", never)
    monkeypatch.setattr(stage.store, "give", never)
    assert str(stage.plan()) == str(first)
    assert [provider.requests for provider in stage.cast] == [[], [], []]
    assert (admission.retries.left(), stage.clock.now) == left


def test_a_plan_reads_well(stage: Stage) -> None:
    plan = stage.plan()
    text = str(plan)
    assert [line for line in text.splitlines() if len(line) > 80 or line != line.rstrip()] == []
    for number, one in enumerate(plan.targets, 1):
        assert re.search(rf"^{number}  {one.label} +{one.part}", text, re.MULTILINE)
    assert ("Nobody can be asked" in text) is (plan.first is None)
    assert (plan.first is None) is all(one.part == "skipped" for one in plan.targets)


def test_a_plan_as_text() -> None:
    cast = [
        ScriptedProvider("gemini", unavailable="GOOGLE_API_KEY is not set"),
        ScriptedProvider("claude"),
        ScriptedProvider("cohere"),
    ]
    factory = LLMFactory(cast[0], cast[1:], settings=NOTHING, extensions=[], policy="eager")
    assert str(factory.plan("Why is the sky blue?", deadline=90)).splitlines() == [
        "Policy eager, with deadline=90; 90 s for the whole call; about 5 tokens to read,",
        "1024 at most to write.",
        "",
        "1  gemini  skipped: GOOGLE_API_KEY is not set",
        "2  claude  asked: gemini is skipped",
        "           60 s for an attempt",
        "           on a passing failure: up to 1 retry within 0.75 s, then cohere",
        "3  cohere  only if claude fails, or does not answer within 60 s",
        "           30 s for an attempt",
        "           on a passing failure: up to 5 retries within 8.25 s, then the call",
        "             has failed",
    ]


def test_who_is_asked_beside_a_probe_is_told() -> None:
    stage = STAGES["the first is half-open"].set_up()
    assert [one.now for one in stage.plan().targets] == [
        "asked: primary; its circuit lets one request at a time through",
        "asked: beside the probe of p0",
        "only if p0 and p1 fail",
    ]
    stage = STAGES["the first refused its key"].set_up()
    stage.clock.advance(30)
    assert [one.now for one in stage.plan().targets][1] == "asked: beside the probe of p0"


def test_a_long_name_is_broken_and_a_conversation_is_counted() -> None:
    cast = [ScriptedProvider("a-provider-of-somebody-with-very-much-to-say"), ScriptedProvider("p")]
    factory = LLMFactory(cast[0], cast[1:], settings=NOTHING, extensions=[])
    plan = factory.plan([Message.user("Why is"), Message.assistant("What?"), Message.user("the sky blue?")])
    assert plan.input_tokens == 6
    lines = str(plan).splitlines()
    assert [line[3:29].strip() for line in lines[2:4]] == ["a-provider-of-somebody-", "with-very-much-to-say"]
    assert max(map(len, lines)) <= 80


def test_who_is_hedged_is_told() -> None:
    stage = Stage(Policy.eager(hedge_after=2)).set_up()
    reasons = [one.why for one in stage.plan().targets]
    assert reasons == ["primary", "p0 fails, or does not answer within 2 s", "p0 and p1 fail"]
    stage = Stage(Policy.eager(hedge_after="p95")).set_up()
    assert [one.why for one in stage.plan().targets][1] == "p0 fails"  # nothing was measured so far
    stage.cast[0].act = lambda request: stage.clock.advance(1.5)
    for _ in range(30):
        stage.call("Hello.", "Hello.", "Hello.")
    assert [one.why for one in stage.plan().targets][1] == "p0 fails, or does not answer within 1.5 s"


def test_who_is_asked_beside_a_late_target_is_told() -> None:
    stage = Stage(Policy.eager()).set_up()
    assert [one.why for one in stage.plan().targets][1] == "p0 fails, or does not answer within 60 s"
    stage.cast[0].act = lambda request: stage.clock.advance(5)
    for _ in range(20):
        stage.call("Hello.", "Hello.", "Hello.")
    assert [one.why for one in stage.plan().targets][1] == "p0 fails, or does not answer within 20 s"
    assert [one.why for one in Stage().set_up().plan().targets][1] == "p0 fails"  # the patient wait


@pytest.mark.parametrize(("deadline", "seconds"), [(30, 15.0), (180, 60.0)])
def test_who_is_asked_beside_a_target_that_has_had_its_share_of_the_time_is_told_and_asked(
    deadline: float, seconds: float
) -> None:
    stage = Stage(Policy.eager(max_retries=0), {"deadline": deadline}).set_up()
    plan = stage.plan()
    assert [one.why for one in plan.targets][1] == f"p0 fails, or does not answer within {seconds:g} s"
    cast = [Player("p0", (10_000.0, "late")), Player("p1", "quick"), Player("p2")]
    runtime = stage.clock.runtime()
    factory = LLMFactory(cast[0], cast[1:], policy=stage.policy, settings=NOTHING, extensions=[], runtime=runtime)
    assert stage.clock.run(factory.agenerate_content("Hello", deadline=deadline)).provider_name == "p1"
    assert stage.clock.now == pytest.approx(seconds)


def test_this_machine_has_nobody_asked_beside_it_that_is_elsewhere() -> None:
    class Here(ScriptedProvider):
        def pace(self, request: Any) -> Pace:
            return Pace(local=True)

    cast: list[ScriptedProvider] = [Here("p0"), ScriptedProvider("p1"), Here("p2")]
    for order, why in (((0, 1), "p0 fails"), ((0, 2), "p0 fails, or does not answer within 60 s")):
        first, second = (cast[n] for n in order)
        factory = LLMFactory(first, [second], policy="eager", settings=NOTHING, extensions=[])
        assert factory.plan("Hello").targets[1].why == why
        cold = factory.plan("Hello", deadline=30).targets[1].why
        assert cold == "p0 fails, or does not answer within 20 s"


def test_a_model_that_thinks_and_a_long_answer_get_their_time() -> None:
    class Thinker(ScriptedProvider):
        def pace(self, request: Any) -> Pace:
            return Pace(thinks="think" in request.prompt, loading=100.0 if "load" in request.prompt else 0.0)

    factory = LLMFactory(Thinker("p0"), settings=NOTHING, extensions=[])
    times = [factory.plan(prompt, max_tokens=1500).targets[0].timeout for prompt in ("Hello", "think", "load")]
    assert times == [130.0, 600.0, 160.0]
    assert factory.plan("Hello", max_tokens=5000).targets[0].timeout == 60.0  # for its first piece
    assert factory.plan("think", timeout=7).targets[0].timeout == 7.0


def test_a_full_house_is_told() -> None:
    stage = Stage(Policy(max_concurrent_calls=1)).set_up()
    plans: list[Plan] = []
    responses: list[LLMResponse] = []

    def act(request: Any) -> None:
        if not plans:
            plans.append(stage.plan())
            responses.append(stage.factory.generate_content("Another"))

    stage.cast[0].act = act
    assert stage.call("Hello.", "Hello.", "Hello.").success
    assert isinstance(responses[0].failure, TooManyCalls)
    assert {one.part for one in plans[0].targets} == {"skipped"}
    assert plans[0].targets[0].why == "1 calls are under way"
    assert stage.plan().first is not None


def test_prices_tokens_and_models_are_those_of_each_target() -> None:
    keys = {"GOOGLE_API_KEY": "not-a-real-key", "ANTHROPIC_API_KEY": "not-a-real-key"}
    settings = Settings(keys, environment={}, directory="/")
    factory = LLMFactory("gemini", ["claude:claude-haiku-4-5", "ollama:own-model"], settings=settings, extensions=[])
    plan = factory.plan("Why is the sky blue?", max_tokens=100, model="gemini-3.8-flash")
    assert [one.model for one in plan.targets] == ["gemini-3.8-flash", "claude-haiku-4-5", "own-model"]
    assert (plan.input_tokens, plan.output_tokens) == (5, 100)
    request = factory._perform("Why is the sky blue?", 0.0, 100, 5, 5, {}).request
    rooms = [4096, 0, 0]  # what a model thinks counts as output
    expected = [estimate(one.provider, one.model, request, room) for one, room in zip(plan.targets, rooms, strict=True)]
    assert [one.price for one in plan.targets] == expected
    assert expected[1] is not None
    assert expected[2] == 0.0
    assert "claude:claude-haiku-4-5  only if gemini fails" in str(plan)
    assert f"${expected[1]:.4f} at most" in str(plan)
    unknown = factory.plan(model="nobody-knows-it").targets[0]
    assert (unknown.model, unknown.price) == ("nobody-knows-it", None)


def test_limits_that_are_left_are_told() -> None:
    stage = STAGES["the limit is not reached"].set_up()
    first, second, _ = stage.plan().targets
    assert (first.left, second.left) == ({"requests a minute": 1.0}, {})
    assert "98.3 s for an attempt, 1 requests a minute left" in str(stage.plan())


def test_wrong_options_are_refused_as_by_a_call() -> None:
    stage = Stage().set_up()
    with pytest.raises(TypeError, match="expected options among"):
        stage.factory.plan("Hello", timout=3)  # type: ignore[call-arg]  # that is the test
    with pytest.raises(ValueError, match="expected a policy among patient, eager"):
        stage.factory.plan(policy="hasty")


def test_a_limit_that_will_have_room_is_waited_for_in_the_plan_too():
    clock = VirtualClock()
    factory = LLMFactory(
        ScriptedProvider("a"),
        limits={"a": Limits(requests_per_minute=1)},
        settings={},
        extensions=[],
        runtime=clock.runtime(),
    )
    factory.generate_content("Hello")
    plan = str(factory.plan("Hello"))
    assert "Nobody can be asked" not in plan
    assert "is waited for, 61 s" in plan
    assert factory.generate_content("Hello").attempts[-1].wait == 61
