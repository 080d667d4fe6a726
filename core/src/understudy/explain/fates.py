"""What each kind of failure leads to under a policy, in words, found by dry runs of the decision procedure."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from understudy import errors
from understudy.engine.commands import Wait
from understudy.engine.decision import FAST, WELL
from understudy.errors import (
    AllProvidersFailed,
    AuthenticationFailed,
    Effect,
    Failure,
    RateLimited,
    Scope,
    StreamInterrupted,
    TargetResting,
    Timeout,
)
from understudy.explain.dry_run import Rehearsal, rehearse_failures
from understudy.health.admission import effect_of
from understudy.health.breaker import LATELY, Breaker
from understudy.policy import Policy
from understudy.target import BreakerState

STEADY = 3  # equal waits in a row that are named once
MOST_PLAYED = 100  # retries; by then their waits do not change any more
LONG = 1e6  # seconds: a rest that no call waits for

Row: TypeAlias = tuple[Sequence[str], str]  # the names on the left, the words on the right


@dataclass(frozen=True, slots=True)
class Fate:
    """What a kind of failure leads to.

    Args:
        quick: seconds, at least and at most, before each retry that comes soon.
        waits: seconds, at most, before each further retry of the target that failed.
        insists: whether these further retries come before the next target is asked.
        goes_on: whether the next target is asked at all.
        effect: what is recorded in the target's health.
        attention: whether the switch is logged as an error, because somebody must act.
        cut_short: whether the deadline can leave room for fewer retries.
    """

    quick: tuple[tuple[float, float], ...]
    waits: tuple[float, ...]
    insists: bool
    goes_on: bool
    effect: Effect
    attention: bool
    cut_short: bool = False


def failure_kinds() -> list[type[Failure]]:
    """Return the kinds of failure that an attempt can end in, in the order of the tree."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Failure)]
    inner = {base for kind in kinds for base in kind.__bases__}
    return [kind for kind in kinds if kind not in inner and kind is not AllProvidersFailed]


def fate_of(kind: type[Failure], policy: Policy) -> Fate:
    """Find what a kind of failure leads to, by a dry run."""
    failure, policy = kind("played"), _playable(policy)
    lasting = replace(policy, deadline=None)
    beside = rehearse_failures(policy, failure, None)
    most = rehearse_failures(policy, failure, draw=0.0)
    longest = rehearse_failures(lasting, failure)
    soonest = rehearse_failures(lasting, failure, draw=0.0)
    return Fate(
        quick=tuple(zip(_quick(soonest), _quick(longest), strict=True))[: len(_quick(most))],
        waits=_slow(longest)[: len(_slow(most))],
        insists=bool(_slow(beside)),
        goes_on=1 in beside.asked,
        effect=effect_of(failure),
        attention=kind.needs_attention,
        cut_short=len(rehearse_failures(policy, failure).waits(0)) < len(longest.waits(0)),
    )


def _playable(policy: Policy) -> Policy:
    """Return a policy with so few retries that it can be played to its end."""
    return replace(policy, max_retries=min(policy.max_retries, MOST_PLAYED))


def _quick(played: Rehearsal) -> tuple[float, ...]:
    return tuple(c.seconds for c in played.commands if isinstance(c, Wait) and c.index == 0 and not c.retry)


def _slow(played: Rehearsal) -> tuple[float, ...]:
    return tuple(c.seconds for c in played.commands if isinstance(c, Wait) and c.index == 0 and c.retry)


def failures(policy: Policy) -> Iterator[Row]:
    """Say what follows each kind of failure; kinds with the same consequences are grouped."""
    groups: dict[tuple[Scope, str], list[type[Failure]]] = {}
    for kind in failure_kinds():
        resting = issubclass(kind, TargetResting)
        words = _resting_words(kind, policy) if resting else _fate_words(kind, fate_of(kind, policy), policy)
        groups.setdefault((kind.scope, words), []).append(kind)
    for (_, words), kinds in groups.items():
        yield [kind.__name__ for kind in kinds], words
    yield ["a vendor's hint"], _hint_words(policy)
    yield (
        ["nobody answers"],
        "The response has success False and names every target's failure; nothing is raised. Before that, each target "
        "that was skipped only for its health is asked once anyway.",
    )


def _fate_words(kind: type[Failure], fate: Fate, policy: Policy) -> str:
    words = _course(fate, policy)
    if kind.scope is Scope.STREAM:
        words = f"Before the first piece of a stream: {words[0].lower()}{words[1:]}"
    parts = [words]
    if kind is Timeout and fate.waits:
        parts.append(_slowness_words(policy))
    if kind is RateLimited:
        parts.append(_hinted_words(policy))
    if fate.attention:
        parts.append("Logged as ERROR, since somebody must act.")
    parts.append(_effect_words(fate.effect, policy))
    if kind.scope is Scope.STREAM:
        parts.append(f"After it: {_recovery_words(policy)}")
    return "\n".join(part for part in parts if part)


def _course(fate: Fate, policy: Policy) -> str:
    """Say who is asked next, and when."""
    if not fate.goes_on:
        return "The call ends."
    soon = _quick_words(fate)
    if not fate.waits:
        return f"{soon} Then the next target." if soon else "The next target, at once; this one is not retried."
    if fate.insists and soon:
        return f"{soon} Then again, {_times(fate, policy)}. Then the next one."
    if fate.insists:
        return f"The same target again, {_times(fate, policy)}. Then the next one."
    begin = f"{soon} Then the next target" if soon else "The next target, at once"
    return f"{begin}. This one again only when all have failed: {_times(fate, policy)}."


def _quick_words(fate: Fate) -> str:
    if not fate.quick:
        return ""
    often = "once more" if len(fate.quick) == 1 else f"up to {len(fate.quick)} times"
    least, most = fate.quick[0]
    return (
        f"The same target {often}, after {least:g} to {most:g} s, if this came within {FAST:g} s and fewer than "
        f"{WELL * 100:g} % of its attempts failed lately."
    )


def _times(fate: Fate, policy: Policy) -> str:
    waits = list(fate.waits)
    number = policy.max_retries if len(waits) == MOST_PLAYED else len(waits)
    often = "once" if number == 1 else f"up to {number} times"
    steady = waits.index(waits[-1])
    then = f"{waits[-1]:g} s each time"
    words = [f"{wait:g}" for wait in (waits if len(waits) - steady < STEADY else waits[:steady])]
    if policy.jitter == "full" and len(words) > 1:
        words[0:2] = [f"between 0 and {words[0]} s, then up to {words[1]}"]
    elif policy.jitter == "full":
        then, words = f"up to {then}", [f"between 0 and {word}" for word in words]
    if len(waits) - steady < STEADY:
        seconds = f"{listed(words)} s"
    else:
        seconds = listed([*words, f"then {then}"]) if words else then
    limit = f", as far as the deadline of {policy.deadline:g} s allows" if fate.cut_short else ""
    return f"{often}, after {seconds}{limit}"


def _slowness_words(policy: Policy) -> str:
    """Say when a target that was slow is not asked again."""
    words = "Only as the last target where it answered others meanwhile"
    if _slow(rehearse_failures(_playable(policy), Timeout("played"), None)):
        words += f", and not where it took {policy.max_delay:g} s or more and another target is left"
    return f"{words}."


def _hinted_words(policy: Policy) -> str:
    """Say what a hint changes for a target that is not retried without one."""
    hinted = RateLimited("played", retry_after=min(1.0, policy.max_delay))
    played = _playable(policy)
    waits = rehearse_failures(played, hinted).waits(0)
    if not waits or rehearse_failures(played, RateLimited("played")).waits(0):
        return ""
    return (
        f"Where the vendor says when to come back, within {policy.max_delay:g} s, it is asked again then if nobody "
        "else is left."
    )


# ---- what is remembered ----


def _effect_words(effect: Effect, policy: Policy) -> str:
    if effect is Effect.FAILURE:
        return "Counts for the circuit breaker." if policy.breaker else ""
    if effect is Effect.REFUSED:
        return _refusal_words(policy)
    if effect not in (Effect.RATE_LIMITED, Effect.EXHAUSTED):
        return ""
    seconds = cooldowns(effect, policy)
    if not seconds:
        return "The next call asks it again."
    when = "It cools down"
    if effect is Effect.EXHAUSTED and not policy.quota_cooldown:
        when = "The next call asks it again; if that is told the same, it cools down"
    if effect is Effect.RATE_LIMITED:
        calls = f"{policy.quota_calls} different calls were" if policy.quota_calls > 1 else "a call was"
        when = f"When {calls} refused within {LATELY:g} s, and at least as many as were answered, it cools down"
    grown = f", longer each time, up to {seconds[-1]:g} s" if seconds[-1] > seconds[0] else ""
    hinted = cooldowns(effect, policy, hint=policy.longest_hint * 2 + 1)[0]
    if hinted == seconds[0]:
        return f"{when}: later calls skip it for {seconds[0]:g} s{grown}."
    return (
        f"{when}: later calls skip it for as long as the vendor says, {hinted:g} s at most; where the vendor says "
        f"nothing, for {seconds[0]:g} s{grown}."
    )


def _refusal_words(policy: Policy) -> str:
    seconds = cooldowns(Effect.REFUSED, policy)
    if not seconds:
        return "The next call asks it again."
    grown = f", longer each time, up to {seconds[-1]:g} s" if seconds[-1] > seconds[0] else ""
    return f"It rests: later calls skip it for {seconds[0]:g} s{grown}, or until its key, model or URL changes."


def cooldowns(effect: Effect, policy: Policy, hint: float | None = None) -> list[float]:
    """Return how long a target rests that refuses again and again, the first time, then, and so on; nothing for never.

    Args:
        effect: RATE_LIMITED, EXHAUSTED or REFUSED.
        policy: the numbers.
        hint: seconds after which the vendor says to come back.
    """
    breaker, now, seconds = Breaker(), 0.0, []
    for _ in range(64):
        breaker.admit(now)
        calls = policy.quota_calls if breaker.state is BreakerState.CLOSED else 1
        for call in range(min(calls, MOST_PLAYED)):
            probe = breaker.send_probe(now, 1.0) if breaker.state is BreakerState.HALF_OPEN else 0
            generation = breaker.generation
            breaker.record(
                effect, now, call=call, generation=generation, probe=probe, policy=policy, draw=0.0, hint=hint
            )
        if breaker.state is not BreakerState.COOLING:
            break
        seconds.append(round(breaker.until - now, 6))
        now = breaker.until
    return seconds


# ---- who is skipped ----


def _resting_words(kind: type[Failure], policy: Policy) -> str:
    soon, other = min(1.0, policy.max_delay) or 1.0, AuthenticationFailed()
    played = _playable(policy)
    near, far = (rehearse_failures(played, kind("", retry_after=seconds), other) for seconds in (soon, LONG))
    alone = rehearse_failures(played, kind("", retry_after=soon))
    words = "Skipped without a request: the next target."
    if near.waits(0):
        words += f" Before the call would fail it is waited for, if it is free again within {policy.max_delay:g} s"
        words += ", and else asked once anyway" if 0 in far.asked else ""
        words += "; where every target rests, it is asked at once" if alone.asked and not alone.waits(0) else ""
        return f"{words}."
    return f"{words} Before the call would fail it is asked once anyway, at once." if 0 in far.asked else words


def _hint_words(policy: Policy) -> str:
    limit = f"{policy.max_delay:g} s"
    return (
        f"Retry-After makes a wait longer, never shorter. With one of more than {limit}, or where the vendor says that "
        "the same request must not come again, the target is not retried."
    )


# ---- streams ----


def _recovery_words(policy: Policy) -> str:
    failure = StreamInterrupted("played", partial="The show")
    played = rehearse_failures(_playable(policy), failure, None, delivered=True)
    if played.verdict is not None and played.verdict.end == "interrupted":
        return "StreamInterrupted is raised, with the text so far."
    if policy.stream_recovery == "restart":
        return (
            "a Restart event says that what came is void, and which tool calls are, and the next target answers from "
            "the beginning."
        )
    return (
        "a Continuation event, and the next target goes on after the last letter, if it can (prefill); where none "
        "can, StreamInterrupted is raised, with the text so far."
    )


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: "one, two and three"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
