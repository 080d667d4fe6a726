"""What a policy's numbers mean, in words: found by playing the decision procedure through, failure by failure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from textwrap import wrap

from understudy import errors
from understudy.admission import effect_of
from understudy.breaker import Breaker, BreakerState, Effect
from understudy.budgets import WINDOW
from understudy.delivery import CHARACTERS
from understudy.errors import (
    AllProvidersFailed,
    AuthenticationFailed,
    Failure,
    Scope,
    StreamInterrupted,
    TargetResting,
)
from understudy.policy import PRESETS, Policy
from understudy.rehearsal import Rehearsal, rehearse_failures
from understudy.response import FinishReason
from understudy.routing import describe
from understudy.times import LONG_ANSWER

WIDTH = 80  # columns
GAP = 2
STEADY = 3  # equal waits in a row that are named once
MOST_PLAYED = 100  # retries; by then their waits do not change any more

Row = tuple[Sequence[str], str]  # the names on the left, the words on the right


@dataclass(frozen=True, slots=True)
class Fate:
    """What a kind of failure leads to.

    Args:
        waits: seconds, at most, before each retry of the target that failed.
        insists: whether these retries come before the next target is asked.
        goes_on: whether the next target is asked at all.
        effect: what the target's health takes note of.
        attention: whether the switch is logged as an error, because somebody must act.
        cut_short: whether the deadline can leave room for fewer retries.
    """

    waits: tuple[float, ...]
    insists: bool
    goes_on: bool
    effect: Effect
    attention: bool
    cut_short: bool = False


def failure_kinds() -> list[type[Failure]]:
    """Return the kinds of failure that a target's part in a call can end in, in the order of the tree."""
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Failure)]
    inner = {base for kind in kinds for base in kind.__bases__}
    return [kind for kind in kinds if kind not in inner and kind is not AllProvidersFailed]


def fate_of(kind: type[Failure], policy: Policy) -> Fate:
    """Find out what a kind of failure leads to, by playing it."""
    failure = kind("played")
    policy = replace(policy, max_retries=min(policy.max_retries, MOST_PLAYED))
    beside = rehearse_failures(policy, failure, None)
    most = rehearse_failures(policy, failure, draw=0.0).waits(0)
    longest = rehearse_failures(replace(policy, deadline=None), failure).waits(0)
    return Fate(
        waits=longest[: len(most)],
        insists=bool(beside.waits(0)),
        goes_on=1 in beside.asked,
        effect=effect_of(failure),
        attention=kind.needs_attention,
        cut_short=len(rehearse_failures(policy, failure).waits(0)) < len(longest),
    )


def explain_policy(policy: Policy) -> str:
    """Say in words what will happen after each failure, and the rest of what the numbers mean."""
    sections = (
        ("When a target fails", _failures(policy)),
        ("Time", _time(policy)),
        ("Health, which all calls of a factory share", _health(policy)),
        ("Order and streams", _order(policy)),
    )
    tables = [(heading, list(rows)) for heading, rows in sections]
    left = max(len(name) for _, rows in tables for names, _ in rows for name in names)
    lines = [*_wrap(f"Policy {title_of(policy)}", WIDTH), *_wrap(_doctrine(policy), WIDTH)]
    for heading, rows in tables:
        several = any(len(names) > 1 for names, _ in rows)  # then blank lines tell which names belong together
        lines += ["", heading, *([] if several else [""])]
        for names, words in rows:
            lines += [*([""] if several else []), *_beside(names, words, left)]
    return "\n".join(lines)


def _wrap(words: str, width: int) -> list[str]:
    """Break words into lines, but never between a number and its unit."""
    whole = re.sub(r"(?<=\d) (?=s\b|%)", "\N{NO-BREAK SPACE}", words)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for part in whole.split("\n") for line in wrap(part, width)]


def _beside(names: Sequence[str], words: str, left: int) -> Iterator[str]:
    """Set names, one below the other, beside the words that are about them."""
    column = _wrap(words, WIDTH - left - 2 * GAP)
    for number in range(max(len(names), len(column))):
        name = names[number] if number < len(names) else ""
        line = column[number] if number < len(column) else ""
        yield f"{' ' * GAP}{name:{left + GAP}}{line}".rstrip()


def title_of(policy: Policy) -> str:
    """Name the preset that a policy is nearest to, and what is different in it."""

    changes = {
        name: [f.name for f in fields(policy) if getattr(policy, f.name) != getattr(preset, f.name)]
        for name, preset in PRESETS.items()
    }
    nearest = min(changes, key=lambda name: len(changes[name]))
    values = [(name, getattr(policy, name)) for name in changes[nearest]]
    changed = ", ".join(f"{name}={describe(value) if callable(value) else repr(value)}" for name, value in values)
    return f"{nearest}, with {changed}" if changed else nearest


def _doctrine(policy: Policy) -> str:
    what = "A target is a provider with its model. "
    if policy.switch_first:
        return what + "No call waits beside one that could be asked: it waits only when every target is in trouble."
    return what + "A failure that may pass is retried on the same target before the next one is asked."


# ---- failures ----


def _failures(policy: Policy) -> Iterator[Row]:
    groups: dict[tuple[Scope, str], list[type[Failure]]] = {}
    for kind in failure_kinds():
        resting = issubclass(kind, TargetResting)
        words = _resting_words(kind, policy) if resting else _fate_words(kind, fate_of(kind, policy), policy)
        groups.setdefault((kind.scope, words), []).append(kind)
    for (_, words), kinds in groups.items():
        yield [kind.__name__ for kind in kinds], words
    yield ["a vendor's hint"], _hint_words(policy)
    yield ["nobody answers"], "The response has success False and names every target's failure; nothing is raised."


def _fate_words(kind: type[Failure], fate: Fate, policy: Policy) -> str:
    if not fate.goes_on:
        words = "The call ends."
    elif not fate.waits:
        words = "The next target, at once; this one is not retried."
    elif fate.insists:
        words = f"The same target again, {_times(fate, policy)}. Then the next one."
    else:
        words = f"The next target, at once. This one again only when all have failed: {_times(fate, policy)}."
    if kind.scope is Scope.STREAM:
        words = f"Before the first piece of a stream: {words[0].lower()}{words[1:]}"
    parts = [words]
    if fate.attention:
        parts.append("Logged as ERROR, since somebody must act.")
    parts.append(_effect_words(fate.effect, policy))
    if kind.scope is Scope.STREAM:
        parts.append(f"After it: {_recovery_words(policy)}")
    return "\n".join(part for part in parts if part)


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


def _effect_words(effect: Effect, policy: Policy) -> str:
    if effect is Effect.FAILURE:
        return "Counts for the circuit breaker." if policy.breaker else ""
    if effect not in (Effect.RATE_LIMITED, Effect.EXHAUSTED):
        return ""
    seconds = _cooldowns(effect, policy)
    if not seconds:
        return "The next call asks it again."
    grown = f", longer each time, up to {seconds[-1]:g} s" if seconds[-1] > seconds[0] else ""
    hinted = _cooldowns(effect, policy, hint=policy.longest_hint * 2 + 1)[0]
    if hinted == seconds[0]:
        return f"It cools down: later calls pass it over for {seconds[0]:g} s{grown}."
    return (
        f"It cools down: later calls pass it over for as long as the vendor says, {hinted:g} s at most; where the "
        f"vendor says nothing, for {seconds[0]:g} s{grown}."
    )


def _cooldowns(effect: Effect, policy: Policy, hint: float | None = None) -> list[float]:
    """Return how long a target cools down that refuses a first time, then its probe, and so on; nothing for never."""
    breaker, now, seconds = Breaker(), 0.0, []
    for _ in range(64):
        breaker.admit(now)
        probe = breaker.send_probe(now, 1.0) if breaker.state is BreakerState.HALF_OPEN else 0
        generation = breaker.generation
        breaker.record(effect, now, call=1, generation=generation, probe=probe, policy=policy, draw=0.0, hint=hint)
        if breaker.state is not BreakerState.COOLING:
            break
        seconds.append(round(breaker.until - now, 6))
        now = breaker.until
    return seconds


def _resting_words(kind: type[Failure], policy: Policy) -> str:
    soon = min(1.0, policy.max_delay) or 1.0
    failure, other = kind("", retry_after=soon), AuthenticationFailed()
    words = ["Passed over without a request: the next target."]
    if 0 in rehearse_failures(policy, failure, other).asked:
        words.append(f"Asked after all when the others have failed, if it is free again within {policy.max_delay:g} s.")
    alone, late = (
        rehearse_failures(policy, rest) for rest in (failure, kind("", retry_after=2 * policy.max_delay + 2))
    )
    asked = "is asked once"
    if alone.waits(0):
        asked = f"is waited for if that takes {policy.max_delay:g} s at most"
        asked += ", and else asked once all the same" if late.asked else ""
    if alone.asked:
        words.append(f"Where every target rests, the one that is free soonest {asked}.")
    return " ".join(words)


def _hint_words(policy: Policy) -> str:
    limit = f"{policy.max_delay:g} s"
    return (
        f"Retry-After makes a wait longer, never shorter. With one of more than {limit}, or where the vendor says that "
        "the same request must not come again, the target is not retried."
    )


def _recovery_words(policy: Policy) -> str:
    failure = StreamInterrupted("played", partial="The show")
    played = rehearse_failures(policy, failure, None, delivered=True)
    if _is_interrupted(played):
        return "StreamInterrupted is raised, with the text so far."
    if policy.stream_recovery == "restart":
        return "a Restart event tells that what came is void, and the next target answers from the beginning."
    return (
        "a Continuation event, and the next target goes on after the last letter, if it can (prefill); where none "
        "can, StreamInterrupted is raised, with the text so far."
    )


def _is_interrupted(played: Rehearsal) -> bool:
    return played.verdict is not None and played.verdict.end == "interrupted"


# ---- the rest ----


def _time(policy: Policy) -> Iterator[Row]:
    if policy.deadline is None:
        yield ["the whole call"], "No deadline: it takes as long as its attempts and waits do."
    else:
        first = [rehearse_failures(policy, *[AuthenticationFailed()] * n).timeout(0) or 0.0 for n in (2, 3)]
        yield (
            ["the whole call"],
            f"{policy.deadline:g} s, then it ends. Each target has its slice, the time left divided by the targets "
            f"left: the first of two gets {first[0]:.3g} s, of three {first[1]:.3g} s; the last one all that remains.",
        )
    yield ["one attempt"], _attempt_words(policy)
    yield ["a stream"], _stream_words(policy)
    if policy.deadline is not None:
        room = f"Begins only where {policy.minimum_attempt:g} s of the deadline are left after the wait."
        yield ["a retry"], room


def _attempt_words(policy: Policy) -> str:
    slice_ = "" if policy.deadline is None else " Its slice of the deadline at most."
    if policy.attempt_timeout is not None:
        return f"{policy.attempt_timeout:g} s for a whole answer.{slice_}"
    asked = {
        "auto": f"One that may take long (more than {LONG_ANSWER} tokens, thinking) is asked for as a stream inside.",
        "stream": "It is asked for as a stream inside.",
        "plain": "It is never asked for as a stream inside.",
    }[policy.whole_answers]
    return f"As long as the request and what the target's answers took allow. {asked}{slice_}"


def _stream_words(policy: Policy) -> str:
    first, idle = (
        "as long as they take there" if seconds is None else f"{seconds:g} s"
        for seconds in (_named(policy, policy.first_token_timeout), _named(policy, policy.idle_timeout))
    )
    silence = f"Where the vendor sends signs of life while it works: {policy.silence_timeout:g} s without any."
    if policy.first_token_timeout is None and policy.idle_timeout is None and policy.attempt_timeout is None:
        return f"For its first piece, and between two pieces, several times what they take there. {silence}"
    return f"First piece: {first}. Between two pieces: {idle}. {silence}"


def _named(policy: Policy, seconds: float | None) -> float | None:
    named = [each for each in (seconds, policy.attempt_timeout) if each is not None]
    return min(named, default=None)


def _health(policy: Policy) -> Iterator[Row]:
    yield ["circuit breaker"], _breaker_words(policy)
    if not _cooldowns(Effect.RATE_LIMITED, policy):
        yield ["cooldown"], "Off: a target that refused for its quota is asked again by the next call."
    yield ["retry budget"], _budget_words(policy)
    most = policy.max_concurrent_calls
    calls = "Any number." if most is None else f"{most}; one more is refused at once, as TooManyCalls."
    yield ["calls under way"], calls


def _breaker_words(policy: Policy) -> str:
    if not policy.breaker:
        return "Off: a target that keeps failing is still asked by every call."
    seconds, longest = min(policy.breaker_open, policy.breaker_longest), policy.breaker_longest
    more = [f"longer each time, up to {longest:g} s"] if longest > seconds else []
    if policy.breaker_jitter:
        more.append(f"up to {policy.breaker_jitter * 100:g} % more at random")
    rest = f"{seconds:g} s ({'; '.join(more)})" if more else f"{seconds:g} s"
    most, of_calls = policy.breaker_failures, policy.breaker_requests
    in_a_row = "an attempt fails" if most == 1 else f"{most} attempts in a row fail within {policy.breaker_memory:g} s"
    different = f", in at least {of_calls} different calls" if of_calls > 1 else ""
    succeeded = "one success closes" if policy.breaker_successes == 1 else f"{policy.breaker_successes} successes close"
    return (
        f"A target rests for {rest} when {in_a_row}, or {policy.breaker_rate * 100:g} % of at least {most} within "
        f"{policy.breaker_window:g} s{different}. Then one request at a time tries it: {succeeded} the circuit, a "
        "failure opens it again."
    )


def _budget_words(policy: Policy) -> str:
    reserve = policy.retry_reserve * WINDOW
    if not reserve and not policy.retry_budget:
        return "None: nothing is retried."
    return (
        f"Over any {WINDOW:g} s, {reserve:g} retries and {policy.retry_budget * 100:g} % of the calls. When they are "
        "used up, the next target is asked instead."
    )


def _order(policy: Policy) -> Iterator[Row]:
    routing = policy.routing
    orders = {
        "ordered": "As the targets are named.",
        "fastest": "The quicker of two drawn at random first, then the others by their speed.",
        "cheapest": "By their prices for the request, the lowest first.",
    }
    yield ["order"], orders[routing] if isinstance(routing, str) else f"As {describe(routing)} says."
    yield ["hedging"], _hedging_words(policy)
    if policy.stream_recovery == "buffer":
        held = "the whole answer is" if policy.buffer_tokens is None else f"{policy.buffer_tokens} tokens are"
        size = "" if policy.buffer_tokens is None else f" ({policy.buffer_tokens * CHARACTERS} characters)"
        yield (
            ["a stream's beginning"],
            f"Until {held} there{size}, nothing is given, so that another can take over unseen.",
        )
    length = f"An answer like any other, with finish_reason {FinishReason.LENGTH.value!r}."
    yield ["cut at max_tokens"], "Refused, as ResponseRejected." if policy.switch_on_length else length
    yield (
        ["a bad answer"],
        "Empty, malformed, against the output_schema, or refused by a validator: see above. In a stream that has "
        "begun, it counts as a break.",
    )


def _hedging_words(policy: Policy) -> str:
    after = policy.hedge_after
    if after is None:
        return "Off: never two targets at once."
    if after == "late":
        return (
            "Where an answer (in a stream, its first piece) is late by what was learnt, twice the time that 95 of 100 "
            "took, or at the end of its slice of the deadline, the next target is asked, too. Whoever answers first is "
            f"taken. In {policy.hedge_share * 100:g} % of the calls at most, and more where the target answers nobody."
        )
    when = "the time that 95 of 100 answers took" if after == "p95" else f"{after:g} s"
    cost = "" if policy.hedge_cost is None else f", and where it costs {policy.hedge_cost:g} dollars at most"
    return (
        f"After {when} without an answer (in a stream, without a first piece) the next target is asked, too. Whoever "
        f"answers first is taken, the other cancelled. In {policy.hedge_share * 100:g} % of the calls at most{cost}."
    )


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: "one, two and three"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
