"""What a factory makes of its targets' health: keys, limits, leases however a call ends, and what is told."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from timed import WAYS, Player, Stage, answer, ask, held_leases, record

from understudy import Limits, LLMFactory, LLMProvider, LLMResponse, Policy, StreamInterrupted, Usage
from understudy.errors import (
    AuthenticationFailed,
    ContextTooLong,
    InvalidRequest,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ServerError,
)
from understudy.health import InMemoryHealthStore
from understudy.target import BreakerState

EAGER = Policy.eager(breaker_jitter=0.0)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("failure", [RequestTooLarge("big"), InvalidRequest("bad"), ContextTooLong("long")])
def test_what_is_the_requests_fault_changes_nothing_that_is_shared(how, failure):
    """I17."""
    stage = Stage(Player("a", *[failure] * 30, "fine"), Player("b"))
    for _ in range(30):
        stage.ask(how)
    assert stage.state() == "closed"
    assert stage.factory._admission.look(0).failures == 0
    assert stage.ask(how).provider_name == "a"


@pytest.mark.parametrize("how", WAYS)
def test_one_poisonous_prompt_opens_nothing(how):
    """I18."""
    policy = Policy(max_retries=100, retry_delay=0)
    stage = Stage(Player("a", *[ServerError("poison")] * 101, "fine"), Player("b"), policy=policy)
    assert stage.ask(how).provider_name == "b"
    assert stage.state() == "closed"
    assert stage.ask(how).provider_name == "a"


def test_health_is_kept_for_each_provider_model_and_credential():
    store = InMemoryHealthStore()
    down = Player("a", ServerError("down"), model="large")

    def factory_of(player, credential=""):
        player.credential = credential
        return LLMFactory(player, [Player("b")], settings={}, extensions=[], policy=EAGER, health_store=store)

    for _ in range(10):
        factory_of(down, "1").generate_content("hello")
    state = {name: store.look(name, EAGER).state.value for name in store._records}
    assert state == {"a/large/1": "open", "b//": "closed"}
    others = [factory_of(Player("a", model="large"), "2"), factory_of(Player("a", model="small"), "1")]
    assert [each.generate_content("hello").provider_name for each in others] == ["a", "a"]
    same = factory_of(Player("a", model="large"), "1")
    assert record(same.generate_content("hello")) == [("a", "skipped"), ("b", "succeeded")]
    assert same.generate_content("hello", model="small").provider_name == "a"


def test_what_one_factory_learns_another_knows():
    store = InMemoryHealthStore()
    policy = Policy(max_retries=0, breaker_requests=5)
    ill, well = Player("a", ServerError("down")), Player("a")
    first, second = (
        LLMFactory(player, [Player("b")], settings={}, extensions=[], policy=policy, health_store=store)
        for player in (ill, well)
    )
    for _ in range(10):
        first.generate_content("hello")
    response = second.generate_content("hello")
    assert record(response) == [("a", "skipped"), ("b", "succeeded")]
    assert response.attempts[0].breaker == "open"
    assert well.requests == []


@pytest.mark.parametrize("how", WAYS)
def test_a_limit_passes_a_target_over_before_its_vendor_says_so(how):
    limits = {"a": Limits(requests_per_minute=2)}
    stage = Stage(Player("a"), Player("b"), limits=limits)
    assert [stage.ask(how).provider_name for _ in range(4)] == ["a", "a", "b", "b"]
    skipped = stage.ask(how).attempts[0]
    assert (skipped.outcome, skipped.number) == ("skipped", 0)
    assert skipped.reason.startswith("skipped: limit reached (2 requests a minute), back in ")
    stage.clock.advance(61)
    assert stage.ask(how).provider_name == "a"


def test_a_limit_on_the_only_target_ends_the_call_without_a_request():
    stage = Stage(Player("a"), limits={"a": Limits(requests_per_minute=1)}, policy=Policy())
    assert stage.ask().success
    response = stage.ask(max_retries=0)
    assert response.error == "All LLM providers failed: [a: limit reached (1 requests a minute), back in 61 s]"
    assert len(stage.players[0].requests) == 1


def test_panic_does_not_pass_a_limit():
    stage = Stage(
        Player("a", ServerError("down")),
        Player("b", ServerError("down")),
        policy=Policy.eager(max_retries=0),
        limits={name: Limits(requests_per_minute=10) for name in "ab"},
    )
    for _ in range(10):
        stage.ask()
    assert (stage.state(0), stage.state(1)) == ("open", "open")
    asked = [len(player.requests) for player in stage.players]
    response = stage.ask()
    assert [len(player.requests) for player in stage.players] == asked == [10, 10]
    assert [attempt.target for attempt in response.attempts] == ["a", "b", "a", "b"]  # the last resort, each in turn
    assert [attempt.outcome for attempt in response.attempts] == ["skipped"] * 4
    assert "limit reached" in response.error


@pytest.mark.parametrize("how", WAYS)
def test_tokens_are_settled_by_the_vendors_count(how):
    usage = Usage(input_tokens=5, output_tokens=15)
    limits = {"a": Limits(tokens_per_minute=3000)}
    stage = Stage(Player("a", answer("fine", usage=usage)), Player("b"), limits=limits)
    stage.ask(how, max_tokens=1000)
    assert stage.factory.get_provider_status()["primary"]["health"]["left"] == {"tokens a minute": 2980}


@pytest.mark.parametrize("how", WAYS)
def test_every_lease_is_given_back_however_the_call_ends(how):
    limits = {"a": Limits(concurrent=3), "b": Limits(concurrent=3)}
    lines = [("fine",), RateLimited(), ServerError("down"), InvalidRequest("bad"), ("half", ServerError("cut")), ("",)]
    for line in lines:
        stage = Stage(Player("a", line), Player("b", line, "fine"), limits=limits)
        stage.ask(how)
        assert held_leases(stage.factory) == {}
        assert not any(any(each._under_way) for each in stage.store._records.values())


@pytest.mark.parametrize("how", ["sync", "stream"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_sync_call_gives_its_lease_back(how, kind):
    class Interrupted(Player):
        def generate(self, request):
            raise kind

        def stream(self, request):
            raise kind
            yield

    limits = {"a": Limits(concurrent=1)}
    stage = Stage(Interrupted("a"), Player("b"), limits=limits, policy=Policy(max_concurrent_calls=1))
    for _ in range(2):
        with pytest.raises(kind):
            stage.ask(how)
    assert held_leases(stage.factory) == {}
    assert stage.factory._admission.bulkhead.under_way == 0
    assert stage.factory._admission.look(0).failures == 0
    assert stage.players[1].requests == []


def test_an_interrupted_wait_gives_its_retry_back():
    stage = Stage(Player("a", ServerError("down")), policy=Policy(max_concurrent_calls=1))
    left = stage.factory._admission.retries.left()

    def interrupt(seconds):
        raise KeyboardInterrupt

    object.__setattr__(stage.factory._runtime, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.ask("sync")
    assert stage.factory._admission.retries.left() >= left
    assert stage.factory._admission.bulkhead.under_way == 0


@pytest.mark.parametrize("early", ["close", "forget"])
def test_a_sync_stream_that_is_left_early_gives_everything_back(early):
    policy = Policy(max_concurrent_calls=1)
    stage = Stage(Player("a", ("one", "two", "three")), limits={"a": Limits(concurrent=1)}, policy=policy)
    for _ in range(3):
        stream = stage.factory.stream_content("hello")
        assert next(stream).text == "one"
        assert stage.players[0].under_way == 1
        if early == "close":
            stream.close()
        del stream
        assert stage.players[0].under_way == 0
        assert held_leases(stage.factory) == {}
        assert stage.factory._admission.bulkhead.under_way == 0
    assert stage.state() == "closed"


def test_everything_is_given_back_before_the_last_event():
    """A caller who keeps the exhausted stream, or never asks beyond Finish, holds nothing up."""
    stage = Stage(Player("a", "fine"), limits={"a": Limits(concurrent=1)}, policy=Policy(max_concurrent_calls=1))
    stream = stage.factory.stream_content("hello")
    while not hasattr(next(stream), "response"):
        pass
    assert held_leases(stage.factory) == {}
    assert stage.factory._admission.bulkhead.under_way == 0
    assert stage.ask("stream").success


def test_the_health_of_every_target_is_told():
    stage = Stage(Player("a", ServerError("down")), Player("b", (0.25, "fine")), policy=EAGER)
    status = stage.factory.get_provider_status()
    nothing = {"state": "closed", "free_in": 0.0, "until": None, "failures": 0, "failing": 0.0, "left": {}}
    unknown = dict.fromkeys(["latency", "latency_p95", "first_token", "first_token_p95"])
    assert status["primary"] == {"name": "a", "available": True, "health": {**nothing, **unknown}}
    assert status["current"] == "a"
    for _ in range(10):
        stage.ask("async")
    status = stage.factory.get_provider_status()
    health = status["primary"]["health"]
    assert (health["state"], health["failures"]) == ("open", 8)
    assert 0.9 < health["failing"] < 1  # the last failure is a moment ago
    assert health["free_in"] == pytest.approx(5 - 4 * 0.25)  # it was opened by the seventh call
    assert health["until"].endswith("+00:00")
    assert status["current"] == "b"
    assert status["fallbacks"][0]["health"]["latency"] == pytest.approx(0.25)
    stage.clock.advance(4)
    status = stage.factory.get_provider_status()
    assert status["current"] == "b"  # who gave the latest answer
    assert (status["primary"]["health"]["state"], status["primary"]["health"]["free_in"]) == ("half-open", 0)


class RemoteStore(InMemoryHealthStore):
    """Reached over a network, as far as anybody knows; writes down which threads asked."""

    blocks = True

    def __init__(self):
        super().__init__()
        self.askers = []

    def take(self, target, claim):
        self.askers.append(threading.current_thread())
        return super().take(target, claim)

    def look(self, target, policy):
        self.askers.append(threading.current_thread())
        return super().look(target, policy)

    def give(self, target, lease, claim, report):
        self.askers.append(threading.current_thread())
        return super().give(target, lease, claim, report)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("routing", ["ordered", "fastest"])
def test_the_event_loop_never_waits_for_a_store(how, routing):
    store = RemoteStore()
    factory = LLMFactory(
        Player("a"), [Player("b")], policy=Policy(routing=routing), health_store=store, settings={}, extensions=[]
    )
    waiting = []
    guarded = factory._admission.store
    original = guarded._ask
    guarded._ask = lambda *question: (waiting.append(threading.current_thread()), original(*question))[1]
    assert ask(factory, how).success
    assert len(store.askers) == (4 if routing == "fastest" else 2)
    on_the_loop = [thread for thread in waiting if thread is threading.current_thread()]
    assert bool(on_the_loop) == (how in ("sync", "stream"))  # a sync call has nobody to hold up


def test_a_class_of_three_methods_may_name_its_account():
    class Plain(LLMProvider):
        credential = "team-a"

        def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
            return LLMResponse(True, "fine", "plain")

        def is_available(self):
            return True

        def get_provider_name(self):
            return "plain"

    factory = LLMFactory(Plain(), settings={}, extensions=[])
    assert factory._admission.name_of(0) == "plain//team-a"


def test_dollars_that_nobody_can_count_are_told_once(caplog):
    stage = Stage(Player("a", model="unheard-of"), limits={"a": Limits(spend_per_day=1)})
    with caplog.at_level(logging.WARNING, "understudy"):
        assert [stage.ask().success for _ in range(3)] == [True] * 3
    assert caplog.messages == ["a: no price is known for 'unheard-of', so spend_per_day does not count it"]


def test_the_latency_of_a_stream_is_that_of_its_first_piece_and_a_series_of_its_own():
    stage = Stage(Player("a", (0.5, "one ", 3.0, "two")))
    stage.ask("stream")
    assert stage.factory._admission.look(0).answers.seconds is None
    stage.ask("sync")
    for _ in range(19):
        stage.ask("astream")
        stage.ask("async")
    health = stage.factory.get_provider_status()["primary"]["health"]
    assert (health["first_token"], health["first_token_p95"]) == pytest.approx((0.5, 0.5))
    assert (health["latency"], health["latency_p95"]) == pytest.approx((3.5, 3.5))
    stage = Stage(Player("a", ("at once", 3.0, "and later")))
    stage.ask("stream")  # at second 0 of the clock, which is a time like any other
    assert stage.factory._admission.look(0).first_tokens.seconds == 0.0


@pytest.mark.parametrize(
    ("line", "failing"),
    [
        (ServerError("down"), 1.0),
        (RateLimited("slow down"), 1.0),
        (QuotaExhausted("no credit"), 1.0),
        (AuthenticationFailed("wrong key"), 1.0),
        (("begun", StreamInterrupted("cut")), 1.0),
        ("", 1.0),  # an empty answer will not do
        (InvalidRequest("too hot"), 0.0),
        (ContextTooLong("a novel"), 0.0),
        (RequestTooLarge("for this quota"), 0.0),
        ("fine", 0.0),
    ],
)
@pytest.mark.parametrize("how", ["sync", "astream"])
def test_a_target_fails_where_it_brings_no_answer_through_no_fault_of_the_request(how, line, failing):
    stage = Stage(Player("a", line), policy=EAGER)
    stage.ask(how, max_retries=0)
    assert stage.factory._admission.look(0).failing == failing


def test_changes_of_state_are_told_and_logged(caplog):
    caplog.set_level(logging.INFO, "understudy")
    stage = Stage(Player("a", *[ServerError("down")] * 8, "fine"), Player("b"), policy=EAGER)
    for _ in range(10):
        stage.ask()
    stage.clock.advance(5)
    for _ in range(2):
        assert stage.ask().provider_name == "a"
    lines = [(line.levelname, line.message) for line in caplog.records if line.message.startswith("a circuit")]
    assert lines == [
        ("WARNING", "a circuit open for 5 s"),
        ("INFO", "a circuit half-open"),
        ("INFO", "a circuit closed"),
    ]


def test_a_refused_key_is_an_error_once_and_its_end_is_none(caplog):
    caplog.set_level(logging.INFO, "understudy")
    stage = Stage(Player("a", AuthenticationFailed("wrong key"), "fine"), Player("b"), policy=EAGER)
    for _ in range(10):
        assert stage.ask().provider_name == "b"
    stage.clock.advance(30)
    assert [stage.ask().provider_name for _ in range(3)] == ["a"] * 3
    rest = "it is skipped for 30 s, and longer each time, until its key, model or URL changes"
    lines = [(line.levelname, line.message) for line in caplog.records if line.levelname != "INFO"]
    assert lines == [
        ("ERROR", f"a authentication failed: {rest}"),
        ("ERROR", "a authentication failed, switching to b"),
    ]
    assert [line.message for line in caplog.records if line.message.startswith("a circuit")] == [
        "a circuit half-open",
        "a circuit closed",
    ]


def test_calls_that_pass_a_resting_target_over_write_a_line_a_minute(caplog):
    caplog.set_level(logging.INFO, "understudy")
    stage = Stage(Player("a", QuotaExhausted("no credit")), Player("b"), policy=EAGER)
    for _ in range(200):
        stage.ask()
        stage.clock.advance(1)
    lines = [line.message for line in caplog.records if line.levelname == "WARNING"]
    assert lines[:2] == ["a circuit cooling for 300 s", "a quota exceeded, switching to b"]
    assert lines[2:] == [f"a is left alone (cooling down): {calls} calls in 60 s" for calls in (61, 60, 60)]


def test_a_store_that_is_shared_by_threads_and_loops_keeps_its_count():
    store = InMemoryHealthStore()
    limits = {"a": Limits(requests_per_minute=60)}
    player = Player("a")
    factory = LLMFactory(player, [Player("b")], settings={}, extensions=[], limits=limits, health_store=store)

    def ask(number):
        if number % 2:
            return asyncio.run(factory.agenerate_content("hello"))
        return factory.generate_content("hello")

    threads = threading.active_count()
    with ThreadPoolExecutor(4) as pool:
        names = [response.provider_name for response in pool.map(ask, range(100))]
    assert names.count("a") == len(player.requests) == 60
    assert threading.active_count() <= threads
    assert {state.value for state in BreakerState} == {"closed", "open", "cooling", "half-open"}


@pytest.mark.parametrize("how", ["async", "astream"])
@pytest.mark.parametrize(
    ("after", "where"), [(1.0, "in the first call"), (3.0, "in the wait"), (8.0, "in the second call")]
)
def test_a_cancelled_call_gives_everything_back_wherever_it_is(how, after, where):
    """I15."""
    first = Player("a", (2.0, ServerError("down")), (5.0, "late"))
    policy = Policy(max_concurrent_calls=1, retry_budget=0, retry_reserve=1)
    stage = Stage(first, Player("b"), policy=policy, limits={"a": Limits(concurrent=1)})
    budget = stage.factory._admission.retries

    async def take():
        return [event async for event in stage.factory.astream_content("hello")]

    async def give_up():
        task = asyncio.ensure_future(stage.factory.agenerate_content("hello") if how == "async" else take())
        await asyncio.sleep(after)
        assert budget.left() == (10 if where == "in the first call" else 9)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    stage.clock.run(give_up())
    assert stage.clock.now == after
    assert budget.left() == (9 if where == "in the second call" else 10)  # a retry that was made is spent
    assert held_leases(stage.factory) == {}
    assert stage.factory._admission.bulkhead.under_way == first.under_way == 0
    assert stage.factory._admission.look(0).failures == (0 if where == "in the first call" else 1)
    assert stage.players[1].requests == []
