"""Ways to tell a breaker of outcomes; importable from the tests."""

from understudy import Policy
from understudy.errors import Effect
from understudy.health.breaker import Breaker
from understudy.target import BreakerState

CLOSED, OPEN, COOLING, HALF_OPEN = (
    BreakerState.CLOSED,
    BreakerState.OPEN,
    BreakerState.COOLING,
    BreakerState.HALF_OPEN,
)
EAGER, PATIENT = Policy.eager(breaker_jitter=0.0), Policy.patient(breaker_jitter=0.0)
LEASE = 61.0


def tell(
    breaker, effect, now, call=1, policy=EAGER, *, probe=0, generation=None, hint=None, draw=0.5, why="", late=False
):
    generation = breaker.generation if generation is None else generation
    breaker.record(
        effect,
        now,
        call=call,
        generation=generation,
        probe=probe,
        policy=policy,
        draw=draw,
        hint=hint,
        why=why,
        late=late,
    )


def fail(breaker, times, now=0.0, policy=EAGER, calls=None, step=0.1):
    """Have so many attempts fail, of as many distinct calls or of those given in turn; return the time after them."""
    for number in range(times):
        tell(breaker, Effect.FAILURE, now, calls[number % len(calls)] if calls else number, policy)
        now += step
    return now


def opened(policy=EAGER):
    """A breaker that has just opened at 0 seconds."""
    breaker = Breaker()
    fail(breaker, policy.breaker_failures, policy=policy, step=0.0)
    assert breaker.state is OPEN
    return breaker


def probe(breaker, now, effect, policy=EAGER, **more):
    assert breaker.admit(now) == 0.0
    tell(breaker, effect, now, policy=policy, probe=breaker.send_probe(now, LEASE), **more)
