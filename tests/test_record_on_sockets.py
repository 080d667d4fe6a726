"""What a call tells of itself, through the real SDKs over sockets: the record, the events, the status, the plan.

And in which order targets are asked, where the route's own order is not wanted.
"""

from gates import Gate, happens
from staging import STREAMS, Clock, casts, ways

from understudy import Policy, hookimpl, weighted
from understudy.events import (
    AttemptFailed,
    AttemptFinished,
    AttemptStarted,
    BreakerChanged,
    CallFinished,
    CallStarted,
    FirstToken,
    RetryScheduled,
    Switched,
    TargetSkipped,
)
from understudy.health import InMemoryHealthStore
from understudy.testing import no_waiting
from understudy_sandbox import faults

SLOW = 0.06  # seconds
BRISK = Policy.patient(retry_delay=0.03, max_retries=1)
DEAR_AND_CHEAP = ["claude", "gemini"]  # by the default models of these tests


class Listener:
    """An extension that notes what it hears, without what differs from call to call."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def understudy_event(self, event):
        self.heard.append(event)


@casts
@ways
def test_an_attempt_tells_seconds_wait_tokens_cost_and_request(stage, cast, how):
    stage.warm_up(how, *cast)
    stage.begin(cast, BRISK, faults.black_hole(SLOW))  # and then the connection ends
    response = stage.ask(how)
    assert stage.counts == [2, 1]
    first, second, third = response.attempts
    for failed in (first, second):
        assert SLOW <= failed.seconds < stage.seconds
        assert (failed.usage, failed.cost, failed.outcome) == (None, None, "failed")
        assert failed.model == stage.providers[cast[0]].default_model
    assert [attempt.wait for attempt in response.attempts] == [0.0, 0.03, 0.0]
    assert [attempt.number for attempt in response.attempts] == [1, 2, 1]
    assert [attempt.breaker for attempt in response.attempts] == ["closed"] * 3
    assert sum(each.seconds + each.wait for each in response.attempts) <= stage.seconds
    assert third.seconds > 0
    assert (third.usage, third.model) == (response.usage, response.model)
    assert third.request_id == response.request_id is not None
    assert third.usage.input_tokens > 0 < third.usage.output_tokens
    assert response.cost == third.cost > 0


@casts
@ways
def test_the_events_of_a_retry_and_a_switch(stage, cast, how):
    listener = Listener()
    stage.open(cast, Policy.patient(max_retries=1), extensions=[listener])
    stage.primary.always(faults.overloaded())
    with no_waiting():
        response = stage.ask(how)
    first, second, third = response.attempts
    ends = [event for event in listener.heard if isinstance(event, AttemptFailed)]
    assert 0 < ends[0].seconds <= first.seconds
    assert 0 < ends[1].seconds <= second.seconds
    finished = [event for event in listener.heard if isinstance(event, AttemptFinished)]
    assert [(each.target, each.number, each.outcome, each.failure) for each in finished] == [
        (cast[0], 1, "failed", first.failure),
        (cast[0], 2, "failed", second.failure),
        (cast[1], 1, "succeeded", None),
    ]
    assert (finished[2].usage, finished[2].request_id, finished[2].cost) == (third.usage, third.request_id, third.cost)
    assert len({event.call for event in listener.heard}) == 1
    pieces = [event for event in listener.heard if isinstance(event, FirstToken)]
    assert [(each.target, each.number) for each in pieces] == ([(cast[1], 1)] if how in STREAMS else [])
    others = (CallStarted, AttemptFinished, FirstToken)
    assert isinstance(listener.heard[0], CallStarted)
    assert [event for event in listener.heard if not isinstance(event, others)] == [
        AttemptStarted(cast[0], 1, "primary"),
        AttemptFailed(cast[0], 1, first.failure, ends[0].seconds),
        RetryScheduled(cast[0], 1, 5.0, first.failure),
        AttemptStarted(cast[0], 2, "retry 1 of 1 after overloaded"),
        AttemptFailed(cast[0], 2, second.failure, ends[1].seconds),
        Switched(cast[0], cast[1], second.failure),
        AttemptStarted(cast[1], 1, third.reason),
        CallFinished(response),
    ]
    assert third.reason == f"after {cast[0]}: overloaded"


@casts
@ways
def test_a_breaker_that_opens_in_the_record_the_events_the_status_and_the_plan(stage, cast, how):
    listener, clock, gate = Listener(), Clock(), Gate()
    policy = Policy.eager(breaker_failures=2, breaker_requests=2, breaker_jitter=0, quick_retries=0)
    route = [cast[0], gate.before(stage.providers[cast[1]])]
    stage.open(route, policy, extensions=[listener], health_store=InMemoryHealthStore(clock))
    stage.primary.always(faults.server_error())
    assert stage.factory.plan("hello").first.label == cast[0]
    stage.ask(how)
    stage.ask(how)
    assert changes(listener) == [(cast[0], "open", 5)]
    health = stage.factory.get_provider_status()["primary"]["health"]
    assert (health["state"], health["failures"], health["free_in"]) == ("open", 2, 5)
    assert [(each.label, each.part, each.breaker) for each in stage.factory.plan("hello").targets] == [
        (cast[0], "skipped", "open"),
        (cast[1], "asked", "closed"),
    ]
    response = stage.ask(how)
    assert [(each.target, each.outcome, each.breaker) for each in response.attempts] == [
        (cast[0], "skipped", "open"),
        (cast[1], "succeeded", "closed"),
    ]
    (skipped,) = [event for event in listener.heard if isinstance(event, TargetSkipped)]
    assert (skipped.target, f"skipped: {skipped.reason}") == (cast[0], response.attempts[0].reason)
    assert skipped.breaker == "open"
    assert stage.counts == [2, 3]
    clock.forward += 5
    stage.primary.heal()
    assert [(each.label, each.breaker) for each in stage.factory.plan("hello").targets] == [
        (cast[0], "half-open"),
        (cast[1], "closed"),
    ]
    gate.shut()
    response = stage.ask(how)
    gate.open()
    assert [(each.target, each.outcome, each.breaker, each.reason) for each in response.attempts] == [
        (cast[1], "cancelled", "closed", f"beside the probe of {cast[0]}"),
        (cast[0], "succeeded", "half-open", "primary"),
    ]
    assert changes(listener)[1:] == [(cast[0], "half-open", 0), (cast[0], "closed", 0)]
    assert stage.factory.get_provider_status()["primary"]["health"]["state"] == "closed"


@ways
def test_a_probe_that_nobody_waited_for_is_in_the_record_and_its_end_in_the_events(stage, how):
    listener, clock = Listener(), Clock()
    policy = Policy.eager(breaker_failures=2, breaker_requests=2, breaker_jitter=0, quick_retries=0)
    stage.open(["gemini", "echo"], policy, extensions=[listener], health_store=InMemoryHealthStore(clock))
    stage.primary.always(faults.server_error())
    stage.ask(how)
    stage.ask(how)
    clock.forward += 5
    stage.primary.always(faults.black_hole())
    probe, second = stage.ask(how).attempts
    assert (probe.target, probe.outcome, probe.breaker, probe.reason) == (
        "gemini",
        "left to end",
        "half-open",
        "primary",
    )
    assert (second.target, second.outcome, second.reason) == ("echo", "succeeded", "beside the probe of gemini")
    assert (probe.usage, probe.cost, probe.wasted) == (None, None, 0)  # what comes of it is not known yet
    assert happens(stage, lambda: stage.primary.request_count == 3)
    stage.primary.hang_up()
    assert happens(stage, lambda: len(changes(listener)) == 3)
    assert changes(listener) == [("gemini", "open", 5), ("gemini", "half-open", 0), ("gemini", "open", 8.5)]


def changes(listener):
    """Return how a target's breaker changed, in the order in which that was heard."""
    return [(event.target, event.state, event.seconds) for event in listener.heard if isinstance(event, BreakerChanged)]


@casts
@ways
def test_latency_is_measured_to_the_answer_or_to_the_first_piece(stage, cast, how):
    stage.begin(cast, "eager", faults.slow_first_token(SLOW))
    stage.ask(how)
    assert latency(stage, how) >= SLOW
    stage.begin(cast, "eager", faults.dribble(0.01))
    (attempt,) = stage.ask(how).attempts
    after_the_first = 10 * 0.01 if how in STREAMS else 0.0  # seconds: there are more than 10 pieces
    assert 0 < latency(stage, how) <= attempt.seconds - after_the_first


def latency(stage, how, place=0):
    kind, status = "first_token" if how in STREAMS else "latency", stage.factory.get_provider_status()
    return [status["primary"], *status["fallbacks"]][place]["health"][kind]


@ways
def test_the_cheapest_is_asked_first(stage, how):
    stage.open(DEAR_AND_CHEAP, Policy.eager(routing="cheapest"))
    response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("gemini", [0, 1])
    assert response.attempts[0].reason == "first by cheapest"
    stage.fallback.always(faults.rate_limited())
    assert [attempt.target for attempt in stage.ask(how).attempts] == ["gemini", "claude"]


@casts
@ways
def test_the_fastest_is_asked_first(stage, cast, how):
    stage.warm_up(how, *cast)
    stage.begin(cast, Policy.eager(routing="fastest"), faults.slow_first_token(4 * SLOW))
    for name in cast:  # each is measured once
        stage.ask(how, policy=Policy.eager(routing=weighted({name: 1})))
    assert stage.counts == [1, 1]
    for _ in range(4):
        latencies = [latency(stage, how, place) for place in (0, 1)]
        assert latencies[0] >= 4 * SLOW  # the other one is the quicker, but for a machine that has much else to do
        assert stage.ask(how).provider_name == cast[latencies[1] < latencies[0]]
    assert sum(stage.counts) == 6


@casts
@ways
def test_whoever_has_no_weight_is_asked_last(stage, cast, how):
    stage.open(cast, Policy.eager(routing=weighted({cast[1]: 1, cast[0]: 0})))
    stage.fallback.next(faults.rate_limited())
    assert [attempt.target for attempt in stage.ask(how).attempts] == [cast[1], cast[0]]
    assert stage.ask(how).provider_name == cast[1]
    assert stage.counts == [1, 2]


@ways
def test_weights_share_the_calls_out(stage, how):
    stage.open(["gemini", "claude"], Policy.eager(routing=weighted({"gemini": 1, "claude": 1})))
    for _ in range(60):
        stage.ask(how)
    asked = stage.counts
    assert sum(asked) == 60
    assert min(asked) >= 8  # once in 10 million
