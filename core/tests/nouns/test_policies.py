"""Policies: the presets, where they come from, what one call may say, and numbers that mean nothing."""

import dataclasses
import inspect
import pickle
import re
from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed import WAYS, Player, Stage

from understudy import ConfigurationError, LLMFactory, Policy, Settings, StreamInterrupted, weighted
from understudy.errors import Overloaded, RateLimited, ServerError
from understudy.health import InMemoryHealthStore
from understudy.policy import PRESETS, ROUTINGS

DOWN = ServerError("down")
every_way = pytest.mark.parametrize("how", WAYS)
NAMES = [field.name for field in dataclasses.fields(Policy)]


# ---- the presets ----


def test_patient_is_the_users_choice():
    policy = Policy.patient()
    assert policy == Policy() == PRESETS["patient"]
    assert (policy.max_retries, policy.retry_delay, policy.max_delay, policy.jitter) == (5, 5, 60, "none")
    assert (policy.switch_first, policy.quick_retries, policy.hedge_after) == (False, 0, None)
    assert (policy.quota_cooldown, policy.refusal_cooldown, policy.longest_hint) == (False, 30, 300)
    assert (policy.breaker_requests, policy.retry_reserve, policy.retry_budget) == (5, 10, 0.1)


def test_eager_is_the_gateways():
    policy = Policy.eager()
    assert (policy.max_retries, policy.retry_delay, policy.max_delay, policy.jitter) == (5, 0.5, 10, "full")
    assert (policy.switch_first, policy.quick_retries, policy.hedge_after) == (True, 1, "late")
    assert (policy.quota_cooldown, policy.refusal_cooldown, policy.longest_hint) == (True, 30, 8.8)
    assert (policy.breaker_requests, policy.retry_reserve, policy.retry_budget) == (3, 2, 0.2)


@pytest.mark.parametrize("policy", PRESETS.values(), ids=PRESETS)
def test_no_preset_cuts_what_works(policy):
    """What a healthy answer takes is found out: nobody is given up at a time that was named beforehand."""
    assert (policy.deadline, policy.attempt_timeout, policy.first_token_timeout, policy.idle_timeout) == (None,) * 4
    assert (policy.silence_timeout, policy.whole_answers) == (45, "auto")
    assert policy.hedge_share == 0.05


def test_both_have_the_same_breaker_but_for_what_opens_it():
    own = {"breaker_failures": (10, 8), "breaker_rate": (0.5, 0.25), "breaker_requests": (5, 3)}
    for name in NAMES:
        if name.startswith("breaker"):
            numbers = getattr(Policy.patient(), name), getattr(Policy.eager(), name)
            assert numbers == own.get(name, (getattr(Policy(), name),) * 2)
    policy = Policy()
    assert (policy.breaker, policy.breaker_window, policy.breaker_memory) == (True, 30, 300)
    assert (policy.breaker_open, policy.breaker_longest, policy.breaker_jitter) == (5, 8.5, 0.1)
    assert policy.breaker_successes == 1
    assert (policy.quota_calls, policy.rate_limit_cooldown) == (3, 5)


def test_a_target_is_used_again_within_ten_seconds():
    """An open circuit, a vendor's hint and a rate limit without one all end by then; only a daily quota does not."""
    policy = Policy.eager()
    assert policy.breaker_longest * (1 + policy.breaker_jitter) < 10
    assert policy.longest_hint < 10


def test_a_preset_takes_changes():
    policy = Policy.eager(deadline=10, max_retries=1)
    assert (policy.deadline, policy.max_retries, policy.switch_first) == (10, 1, True)
    assert Policy.eager() == PRESETS["eager"]
    with pytest.raises(TypeError, match="patience"):
        Policy.eager(patience=5)


def test_a_policy_knows_whether_it_is_a_preset():
    assert [policy.preset for policy in (Policy(), Policy.patient(), Policy.eager(), Policy.eager(deadline=9))] == [
        "patient",
        "patient",
        "eager",
        None,
    ]


def test_a_policy_shows_what_differs_from_patient():
    assert repr(Policy()) == "Policy()"
    assert repr(Policy(deadline=3, routing="fastest")) == "Policy(deadline=3, routing='fastest')"
    assert eval(repr(Policy.eager(deadline=3))) == Policy.eager(deadline=3)


def test_a_policy_cannot_be_changed_and_can_be_sent_elsewhere():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().deadline = 5
    assert pickle.loads(pickle.dumps(Policy.eager())) == Policy.eager()
    assert len({Policy(), Policy.patient(), Policy.eager()}) == 2


def test_every_number_is_in_the_documentation_with_its_unit():
    words = inspect.getdoc(Policy)
    assert [name for name in NAMES if f"\n    {name}: " not in words] == []
    assert list(inspect.signature(Policy).parameters) == NAMES


def test_every_number_is_documented_as_it_is():
    """Each default stands behind what it is about, and that of `eager` beside the preset's name."""
    blocks = re.split(r"\n    (?=\w+: )", inspect.getdoc(Policy).partition("Args:")[2].partition("Raises:")[0])
    words = {name: " ".join(text.split()) for name, _, text in (block.partition(": ") for block in blocks)}
    for name in NAMES:
        patient, eager = (getattr(policy, name) for policy in (Policy.patient(), Policy.eager()))
        if isinstance(patient, bool | str):
            continue
        if patient is None:
            assert "None" in words[name] or "likewise" in words[name], name
        else:
            assert re.search(rf"[.;] {re.escape(f'{patient:g}')}[.;:,]", words[name]), name
        if eager != patient:
            own = f'"{eager}"' if isinstance(eager, str) else f"{eager:g}"
            assert f"{own} in `eager`" in words[name], name


@given(st.integers(0, 10_000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_backoff_is_the_formula_and_never_overflows(retry, delay, most):
    doubled = Fraction(delay) * 2**retry
    expected = float(min(doubled, Fraction(most)))
    if retry <= 64 or delay * 2.0**64 >= most:  # it doubles no more than so often
        assert Policy(retry_delay=delay, max_delay=most).backoff(retry) == expected
    else:
        assert Policy(retry_delay=delay, max_delay=most).backoff(retry) <= expected


# ---- where it comes from ----


def factory_of(policy=None, settings=None, **options):
    return LLMFactory(Player("a"), settings=settings or {}, extensions=[], policy=policy, **options)


def test_where_nobody_says_it_is_patient():
    factory = LLMFactory(Player("a"), settings=Settings(environment={}), extensions=[])
    assert factory._policy == Policy()


@pytest.mark.parametrize("name", ["eager", "EAGER", " eager "])
def test_a_name_is_enough(name):
    assert factory_of(name)._policy == Policy.eager()
    assert factory_of(settings={"LLM_POLICY": name})._policy == Policy.eager()


def test_the_argument_stands_above_the_setting():
    policy = Policy(max_retries=1)
    assert factory_of(policy, {"LLM_POLICY": "eager"})._policy is policy
    assert factory_of("patient", {"LLM_POLICY": "eager"})._policy == Policy()
    assert factory_of(policy, {"LLM_POLICY": "nonsense"})._policy is policy


def test_an_unknown_name_names_the_variable_and_its_file(tmp_path):
    (tmp_path / ".env").write_text("LLM_POLICY=brave\n")
    with pytest.raises(ConfigurationError) as caught:
        factory_of(settings=Settings(environment={}, directory=tmp_path))
    assert str(caught.value) == (
        f"LLM_POLICY in {tmp_path / '.env'}: expected a policy among patient, eager, found 'brave'"
    )
    with pytest.raises(ConfigurationError, match=r"^LLM_POLICY in the environment: expected a policy among patient"):
        factory_of(settings=Settings(environment={"LLM_POLICY": "brave"}))


def test_an_empty_setting_says_nothing():
    assert factory_of(settings=Settings(environment={"LLM_POLICY": ""}))._policy == Policy()


@pytest.mark.parametrize("wrong", ["brave", "", 5, {"deadline": 5}, Policy])
def test_something_else_is_refused_in_the_code_too(wrong):
    with pytest.raises(ValueError, match="expected a policy among patient, eager, found"):
        factory_of(wrong)
    with pytest.raises(ValueError, match="expected a policy among patient, eager, found"):
        factory_of().generate_content("hello", policy=wrong)


# ---- one call's own: I9 ----


@every_way
@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ({"max_retries": 0}, []),
        ({"max_retries": 2, "retry_delay": 1.5}, [1.5, 3]),
        ({"retry_delay": 0}, [0] * 5),
        ({"policy": Policy(max_retries=1)}, [5]),
        ({"policy": Policy(max_retries=1), "retry_delay": 2}, [2]),
        ({"policy": "eager", "max_retries": 1, "deadline": 5}, [0.5]),
        ({"policy": Policy.eager(max_retries=2, quick_retries=0)}, [0.25, 0.5]),
        ({"deadline": 12}, [5]),
    ],
)
def test_overrides_touch_their_call_only(how, options, waits):
    stage = Stage(Player("a", DOWN), policy=Policy(breaker=False))
    stage.ask(how)
    usual = list(stage.clock.waits)
    assert usual == [5, 10, 20, 40, 60]
    stage.clock.waits.clear()
    for _ in range(2):
        stage.ask(how, **options)
        assert stage.clock.waits == waits
        stage.clock.waits.clear()
    stage.ask(how)
    assert stage.clock.waits == usual
    assert stage.factory._policy == Policy(breaker=False)


@every_way
def test_a_calls_own_policy_changes_nothing_that_is_shared(how):
    """Breaker, cooldowns and budgets stay the factory's."""
    own = Policy.eager(breaker_failures=1, breaker_requests=1, retry_reserve=0, retry_budget=0, max_retries=1)
    stage = Stage(Player("a", DOWN), Player("b", RateLimited("429")), policy=Policy(max_retries=0))
    for _ in range(3):
        stage.ask(how, policy=own)
    assert (stage.state(0), stage.state(1)) == ("closed", "closed")
    assert [len(player.requests) for player in stage.players] == [6, 6]  # each was retried, for the budget is wide
    assert stage.factory._admission.retries.reserve == 10


@every_way
def test_a_calls_own_policy_decides_on_its_own_answers(how):
    stage = Stage(Player("a", "one"), Player("b"), policy=Policy())
    assert stage.ask(how, policy=Policy(routing=lambda candidates, draw: [1, 0])).provider_name == "b"
    assert stage.ask(how).provider_name == "a"


def test_a_strategy_that_is_no_key_may_be_one_calls_own():
    class Backwards:
        __hash__ = None

        def __call__(self, candidates, draw):
            return [1, 0]

    stage = Stage(Player("a"), Player("b"), policy=Policy())
    assert stage.ask(policy=Policy(routing=Backwards())).provider_name == "b"


def test_a_calls_own_stream_recovery_is_its_own():
    stage = Stage(Player("a", ("half", Overloaded("cut"))), Player("b"), policy=Policy())
    assert stage.ask("stream", policy=Policy(stream_recovery="restart")).provider_name == "b"
    assert stage.ask("stream") is None
    assert isinstance(stage.error, StreamInterrupted)


def test_numbers_of_one_call_are_checked_before_anything_is_sent():
    player = Player("a")
    factory = LLMFactory(player, settings={}, extensions=[])
    for wrong in ({"timeout": 0}, {"timeout": nan}, {"deadline": -1}, {"deadline": inf}, {"max_retries": True}):
        with pytest.raises(ValueError, match="expected"):
            factory.generate_content("hello", **wrong)
    with pytest.raises(ValueError, match="elsewhere"):
        factory.generate_content("hello", policy=Policy(routing=weighted({"elsewhere": 1})))
    assert player.requests == []
    assert factory.generate_content("hello", timeout=None, deadline=None).success


def test_one_is_not_true():
    """1 and True are equal, and so are the keys under which policies of calls are kept."""
    factory = factory_of(Policy(max_retries=1))
    factory.generate_content("hello", max_retries=1)
    with pytest.raises(ValueError, match="max_retries as a whole number of 0 or more, found True"):
        factory.generate_content("hello", max_retries=True)


def test_many_different_calls_are_not_kept_for_ever():
    factory = factory_of()
    for number in range(1, 600):
        factory.generate_content("hello", timeout=number)
    assert len(factory._overrides._known) <= 256


def test_two_factories_may_share_health_and_not_their_policies():
    store = InMemoryHealthStore()
    down = Player("a", DOWN)
    quick, slow = (
        LLMFactory(down, [Player("b")], settings={}, extensions=[], policy=policy, health_store=store)
        for policy in (Policy.eager(), Policy.patient(max_retries=0, breaker=False))
    )
    for _ in range(30):
        slow.generate_content("hello")
    assert len(down.requests) == 30
    for _ in range(12):
        quick.generate_content("hello")
    assert len(down.requests) == 38


# ---- numbers that mean nothing ----

NO_NUMBERS = ["5", None, [], nan, True]
SECONDS = [*NO_NUMBERS, -0.1, inf]
SOME_SECONDS = [*SECONDS, 0]
SECONDS_OR_NONE = [value for value in SOME_SECONDS if value is not None]
WHOLE = [*NO_NUMBERS, -1, 1.5, inf]
WHOLE_OR_NONE = [value for value in [*NO_NUMBERS, 0, -1, 1.5, inf] if value is not None]
WHOLE_FROM_1 = [*NO_NUMBERS, 0, -1, 1.5, inf]
SHARE = [*NO_NUMBERS, -0.01, 1.01, inf]
SWITCH = [0, 1, "yes", None]
WRONG = {
    **dict.fromkeys(["max_retries", "quick_retries"], WHOLE),
    **dict.fromkeys(["retry_delay", "max_delay", "minimum_attempt", "breaker_memory", "breaker_open"], SECONDS),
    **dict.fromkeys(["breaker_longest", "longest_hint", "longest_cooldown"], SECONDS),
    **dict.fromkeys(["rate_limit_cooldown", "exhausted_cooldown"], SECONDS),
    **dict.fromkeys(["deadline", "attempt_timeout", "first_token_timeout", "idle_timeout"], SECONDS_OR_NONE),
    "refusal_cooldown": SECONDS_OR_NONE,
    "silence_timeout": SOME_SECONDS,
    "whole_answers": ["", "whole", None, True, ["auto"]],
    "breaker_window": [*SOME_SECONDS, 0.9],
    **dict.fromkeys(["breaker_failures", "breaker_requests", "breaker_successes", "quota_calls"], WHOLE_FROM_1),
    "breaker_rate": [*SHARE, 0],
    **dict.fromkeys(["breaker_jitter", "hedge_share"], SHARE),
    **dict.fromkeys(["retry_budget", "retry_reserve"], SECONDS),
    **dict.fromkeys(["buffer_tokens", "max_concurrent_calls"], WHOLE_OR_NONE),
    "hedge_after": ["p99", "", "LATE", 0, -1, nan, inf, True],
    "hedge_cost": [-1, nan, inf, "1", True],
    **dict.fromkeys(["switch_first", "switch_on_refusal", "switch_on_content_blocked", "switch_on_length"], SWITCH),
    **dict.fromkeys(["breaker", "quota_cooldown"], SWITCH),
    "jitter": ["some", None, True, ["none"]],
    "stream_recovery": ["", "resume", None, True],
    "routing": ["", "random", None, 5, ["ordered"]],
}
RIGHT = {
    "max_retries": [0, 100],
    "quick_retries": [0, 1],
    "deadline": [None, 0.001],
    "attempt_timeout": [None, 0.001],
    "first_token_timeout": [None, 0.001],
    "idle_timeout": [None, 0.001],
    "silence_timeout": [0.001],
    "whole_answers": ["auto", "stream", "plain"],
    "quota_calls": [1],
    "refusal_cooldown": [None, 0.001],
    "hedge_after": [None, "p95", "late", 0.001],
    "hedge_cost": [None, 0, 0.5],
    "buffer_tokens": [None, 1],
    "max_concurrent_calls": [None, 1],
    "breaker_rate": [0.01, 1],
    "hedge_share": [0, 1],
    "breaker_window": [1],
    "minimum_attempt": [0],
    "jitter": ["none", "full"],
    "stream_recovery": ["raise", "restart", "continue", "buffer"],
    "routing": [*ROUTINGS, weighted({"a": 1}), lambda candidates, draw: range(len(candidates))],
}


def test_every_number_has_a_range():
    assert set(WRONG) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_out_of_its_range_is_refused_by_name(name):
    for value in WRONG[name]:
        with pytest.raises(ValueError, match=f"^expected {name} ") as caught:
            Policy(**{name: value})
        assert str(caught.value).endswith(f", found {value!r}")


def test_a_number_at_the_edge_of_its_range_is_taken():
    for name, values in RIGHT.items():
        for value in values:
            assert getattr(Policy(**{name: value}), name) == value


def test_the_messages_say_what_is_expected():
    for changes, words in (
        ({"max_retries": -1}, "expected max_retries as a whole number of 0 or more, found -1"),
        ({"deadline": 0}, "expected deadline in seconds, more than 0, or None, found 0"),
        ({"jitter": "some"}, "expected jitter as none or full, found 'some'"),
        ({"hedge_after": 0}, 'expected hedge_after in seconds, more than 0, or "p95" or "late", or None, found 0'),
        ({"whole_answers": "x"}, "expected whole_answers as auto, stream or plain, found 'x'"),
        ({"silence_timeout": 0}, "expected silence_timeout in seconds, more than 0, found 0"),
        ({"stream_recovery": "x"}, "expected stream_recovery as raise, restart, continue or buffer, found 'x'"),
        ({"breaker_rate": 0}, "expected breaker_rate as a share above 0, at most 1, found 0"),
        ({"routing": "x"}, "expected routing as ordered, fastest, cheapest, or a function, found 'x'"),
    ):
        with pytest.raises(ValueError, match=r"^expected") as caught:
            Policy(**changes)
        assert str(caught.value) == words
