"""What counts for or against a target, and whose count it is."""

from dataclasses import replace

import pytest
from timed import NEVER, WAYS, Player, Stage, record

from understudy import Limits, LLMFactory, Policy
from understudy.errors import Overloaded, RateLimited, ServerError, TooManyCalls
from understudy.health import InMemoryHealthStore

every_way = pytest.mark.parametrize("how", WAYS)
EAGER = Policy.eager(breaker_jitter=0.0, max_retries=0)


@every_way
def test_two_providers_of_one_name_are_two(how):
    east, west = Player("mine", RateLimited("429", retry_after=30)), Player("mine")
    stage = Stage(east, west, policy=replace(EAGER, quota_calls=1))
    assert record(stage.ask(how)) == [("mine", "failed"), ("mine", "succeeded")]
    assert record(stage.ask(how)) == [("mine", "skipped"), ("mine", "succeeded")]
    assert (stage.state(0), stage.state(1)) == ("cooling", "closed")


def test_one_provider_twice_on_a_route_is_one_and_so_is_one_account():
    factory = LLMFactory("echo", ["echo:other"], settings={})
    names = [factory._admission.name_of(position) for position in (0, 1)]
    assert "#" not in "".join(names)
    east, west = Player("mine"), Player("mine")
    east.credential, west.credential = "a", "b"
    factory = LLMFactory(east, [west], settings={}, extensions=[])
    assert [factory._admission.name_of(position) for position in (0, 1)] == ["mine//a", "mine//b"]


@every_way
def test_a_refused_answer_is_an_answer(how):
    """One in ten fails, and nine do not please their caller: that is not an outage."""
    line = [ServerError("down")] + ["bad"] * 9
    stage = Stage(Player("a", *line * 12), Player("b"), policy=EAGER)
    for _ in range(120):
        stage.ask(how, validator=lambda response: response.content != "bad")
    assert stage.state() == "closed"


@every_way
def test_a_call_is_no_probe_of_a_target_that_failed_it_already(how):
    """Its own request may be what the target fails on; others find out, and it does not wait to ask again."""
    policy = Policy(
        max_retries=3, retry_delay=1, breaker_failures=2, breaker_requests=1, breaker_open=5, breaker_jitter=0
    )
    stage = Stage(Player("a", ServerError("poison")), policy=policy)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("a", "failed")]
    assert stage.state() == "open"
    assert stage.clock.waits == [1]


@every_way
def test_calls_that_are_refused_at_the_door_earn_no_retries(how):
    stage = Stage(Player("a"), policy=Policy(max_concurrent_calls=1, retry_reserve=0.0))
    stage.factory._admission.bulkhead.enter()
    for _ in range(50):
        assert isinstance(stage.ask(how).failure, TooManyCalls)
    assert stage.factory._admission.retries.left() == 0
    stage.factory._admission.bulkhead.leave()
    for _ in range(50):
        stage.ask(how)
    assert stage.factory._admission.retries.left() == 5


@pytest.mark.parametrize("how", ["async", "astream"])
def test_a_hurried_callers_timeout_opens_nobodys_circuit(how):
    """It takes 2 s as ever, and somebody gives it one and a half."""
    stage = Stage(Player("a", (2.0, "fine")), Player("b"), policy=EAGER)
    for _ in range(25):
        assert stage.ask(how).provider_name == "a"
    for _ in range(12):
        assert stage.ask(how, timeout=1.5).provider_name == "b"
    assert stage.state() == "closed"


@pytest.mark.parametrize("how", ["async", "astream"])
def test_a_hang_opens_the_circuit_though_its_callers_set_a_timeout_of_their_own(how):
    stage = Stage(Player("a", *[(1.0, "fine")] * 25, (NEVER, "late")), Player("b"), policy=EAGER)
    for _ in range(25):
        stage.ask(how)
    for _ in range(10):
        assert stage.ask(how, timeout=1.5).provider_name == "b"
    assert stage.state() == "open"


class Recording(InMemoryHealthStore):
    """Writes down what is claimed."""

    def __init__(self, clock):
        super().__init__(clock, lambda: 0.0)
        self.claims = []

    def take(self, target, claim):
        self.claims.append(claim)
        return super().take(target, claim)


def test_a_probe_is_leased_for_the_time_of_an_attempt_not_of_the_call():
    now = [0.0]
    store = Recording(lambda: now[0])
    stage = Stage(Player("a"), policy=Policy.eager(deadline=3600, attempt_timeout=20), health_store=store)
    stage.ask("async")
    assert store.claims[0].lease == 21


def test_late_in_a_call_a_target_is_leased_for_what_the_deadline_leaves():
    policy = Policy.eager(deadline=2.0, quick_retries=0)
    stage = Stage(Player("a", (1.2, ServerError("down"))), Player("b"), policy=policy)
    stage.factory._admission.store = store = Recording(lambda: stage.clock.now)
    stage.ask("async")
    assert [claim.lease for claim in store.claims] == pytest.approx([3.0, 1.8])


def test_no_dollars_are_claimed_where_none_are_limited():
    stage = Stage(Player("a"), limits={"a": Limits(tokens_per_minute=10_000)})
    stage.factory._admission.store = store = Recording(lambda: stage.clock.now)
    stage.ask("async")
    assert [claim.cost for claim in store.claims] == [0.0]


class Garbage(InMemoryHealthStore):
    """Returns nothing, where it should return a Lease, or how a target is."""

    def take(self, target, claim):
        super().take(target, claim)

    def give(self, target, lease, claim, report):
        super().give(target, lease, claim, report)

    def look(self, target, policy):
        pass


@every_way
def test_a_store_that_returns_nonsense_fails_no_call(how, caplog):
    stage = Stage(Player("a"), policy=Policy.eager(routing="fastest"), health_store=Garbage())
    assert stage.ask(how).success
    assert stage.factory.get_provider_status()["primary"]["health"]["state"] == "closed"
    assert "the health store failed when asked for a//" in caplog.text
    assert "expected take to return a Lease, found None" in caplog.text


@every_way
@pytest.mark.parametrize("hint", ["30", float("nan"), float("inf"), -5])
def test_a_hint_that_is_none_ends_no_call(how, hint):
    failure = Overloaded("busy")
    failure.retry_after = hint
    stage = Stage(Player("a", failure), Player("b"), policy=Policy(max_retries=1, retry_delay=1))
    response = stage.ask(how)
    assert response.provider_name == "b"
    assert stage.clock.waits == [1]
