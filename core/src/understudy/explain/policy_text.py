"""What a policy's numbers mean, in words: found by a dry run for each failure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from textwrap import wrap

from understudy.engine.timeouts import LONG_ANSWER, NOTHING_LEARNT, Learned, Times, times_for
from understudy.errors import AuthenticationFailed, Effect
from understudy.execution.stream_recovery import CHARACTERS
from understudy.explain.dry_run import rehearse_failures
from understudy.explain.fates import Row, cooldowns, failures
from understudy.health.breaker import FEW, LASTING, RELAPSE, SOME_TIME
from understudy.health.budgets import WINDOW
from understudy.health.latency import ENOUGH_SAMPLES
from understudy.messages import Message, Request
from understudy.policy import PRESETS, Policy
from understudy.provider import Pace
from understudy.response import FinishReason
from understudy.routing.strategies import describe

WIDTH = 80  # columns
GAP = 2
_SHORT = Request(messages=(Message.user("Hello"),), max_tokens=1024)  # what a call asks for if it says nothing about it
_TOOK = (1e-6, 5.0, 10.0, 20.0, 40.0, 80.0, 1e9)  # seconds that answers took, in simulated worlds


def explain_policy(policy: Policy) -> str:
    """Say in words what will happen after each failure, and the rest of what the numbers mean."""
    sections = (
        ("When a target fails", failures(policy)),
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
    """Put names in one column and the words about them in another."""
    column = _wrap(words, WIDTH - left - 2 * GAP)
    for number in range(max(len(names), len(column))):
        name = names[number] if number < len(names) else ""
        line = column[number] if number < len(column) else ""
        yield f"{' ' * GAP}{name:{left + GAP}}{line}".rstrip()


def title_of(policy: Policy) -> str:
    """Name the preset that a policy is closest to, and what differs from it."""

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
    if not policy.switch_first:
        return what + "A failure that may pass is retried on the same target before the next one is asked."
    moment = ", but for a moment after a failure that came fast" if policy.quick_retries and policy.max_retries else ""
    return (
        what
        + f"No call waits while another target could be asked{moment}: it waits only when every target is in trouble."
    )


# ---- time ----


def _time(policy: Policy) -> Iterator[Row]:
    if policy.deadline is None:
        yield ["the whole call"], "No deadline: it takes as long as its attempts and waits do."
    else:
        first = [rehearse_failures(policy, *[AuthenticationFailed()] * n).timeout(0) or 0.0 for n in (2, 3)]
        instead = "instead" if policy.hedge_after is None else "beside it"
        yield (
            ["the whole call"],
            f"{policy.deadline:g} s, then it ends. The first target has twice the share of each other, and more where "
            f"its answers are known to come in time: of two {first[0]:.3g} s, of three {first[1]:.3g} s. Then the next "
            f"one is asked {instead}; the last one has all that remains.",
        )
    yield ["one attempt"], _attempt_words(policy)
    yield ["a stream"], _stream_words(policy)
    if policy.deadline is not None:
        room = f"Begins only where {policy.minimum_attempt:g} s of the deadline are left after the wait."
        yield ["a retry"], room


def _attempt_words(policy: Policy) -> str:
    asked = {
        "auto": f"One that may take long is requested as a stream internally: more than {LONG_ANSWER} tokens, "
        "thinking, a "
        "model that is loaded first.",
        "stream": "It is requested as a stream internally.",
        "plain": "It is never requested as a stream.",
    }[policy.whole_answers]
    if policy.attempt_timeout is not None:
        return f"{policy.attempt_timeout:g} s for a whole answer. {asked}"
    plain = _played(policy, streamed=False).answer
    found = _found(lambda learned: _played(policy, learned, streamed=False).answer)
    return (
        f"A whole answer: at first {plain:.3g} s for {_SHORT.max_tokens} tokens; once {ENOUGH_SAMPLES} are known, "
        f"{found}. {asked}"
    )


def _stream_words(policy: Policy) -> str:
    first, idle = _named(policy, policy.first_token_timeout), _named(policy, policy.idle_timeout)
    slowly = _played(policy, thinks=True)
    sentences = []
    if first is None:
        found = _found(lambda learned: _played(policy, learned).first)
        times = f"at first {_played(policy).first:g} s, then {found}; of a model that thinks {slowly.first:g} s"
        sentences.append(f"First piece: {times}.")
    else:
        sentences.append(f"First piece: {first:g} s.")
    if idle is None:
        found = _found(lambda learned: _played(policy, learned).idle, "the longest pauses of 95 of 100")
        times = f"at first {_played(policy).idle:g} s, of a model that thinks {slowly.idle:g} s; then {found}"
        sentences.append(f"Between two pieces: {times}.")
    else:
        sentences.append(f"Between two pieces: {idle:g} s.")
    sentences.append(
        f"Where the vendor sends signs of life while it works: {policy.silence_timeout:g} s without any, or half as "
        "long again as from one to the next."
    )
    return " ".join(sentences)


def _named(policy: Policy, seconds: float | None) -> float | None:
    """Return the seconds that a policy names for a part of a stream; None where it names none."""
    named = [each for each in (seconds, policy.attempt_timeout) if each is not None]
    return min(named, default=None)


def _played(policy: Policy, learned: Learned = NOTHING_LEARNT, *, streamed: bool = True, thinks: bool = False) -> Times:
    return times_for(policy, _SHORT, Pace(thinks=thinks), learned, streamed=streamed, whole=False)


def _found(seconds: Callable[[Learned], float], took: str = "what 95 of 100 took") -> str:
    """Say how a time follows from what was measured."""
    times = {p95: seconds(Learned(answer_p95=p95, first_p95=p95, gap_p95=p95)) for p95 in _TOOK}
    least, most = min(times.values()), max(times.values())
    factor = next(time / p95 for p95, time in times.items() if least < time < most)
    return f"{factor:g} times {took}, from {least:g} to {most:g} s"


# ---- health ----


def _health(policy: Policy) -> Iterator[Row]:
    yield ["circuit breaker"], _breaker_words(policy)
    if not cooldowns(Effect.RATE_LIMITED, policy):
        yield ["cooldown"], "Off: a target that refused for its quota is asked again by the next call."
    else:
        yield (
            ["cooldown"],
            "After a rate limit's first cooldown all may ask again; where that was too soon, one request finds out the "
            "next time, as after a daily quota and after a refused key.",
        )
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
    share = f"{policy.breaker_rate * 100:g} % of at least {most} within {policy.breaker_window:g} s"
    few = min(FEW, most)
    little = "" if few == most else f" Where there is little traffic, {few} in a row over {SOME_TIME:g} s are enough."
    return (
        f"A target rests for {rest} when {in_a_row}, or {share}, or within {LASTING:g} s where that lasts{different}."
        f"{little} Also when it answers nobody who waits for it, for longer than chance explains. Then one request at "
        f"a time tries it, and the next target is asked beside it at once: {succeeded} the circuit, a failure opens it "
        f"again. Within {policy.breaker_window:g} s of that, {RELAPSE} calls that fail are enough, for the longer "
        "time, and one success more closes it."
    )


def _budget_words(policy: Policy) -> str:
    reserve = policy.retry_reserve * WINDOW
    if not reserve and not policy.retry_budget:
        return "None: nothing is retried."
    return (
        f"Over any {WINDOW:g} s, {reserve:g} retries and {policy.retry_budget * 100:g} % of the calls. When they are "
        "used up, the next target is asked instead."
    )


# ---- order and streams ----


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
            f"Until {held} there{size}, nothing is handed out, so that another target can take over unnoticed.",
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
        return "Off: never two targets at once, but for a probe."
    cost = "" if policy.hedge_cost is None else f", and where it costs {policy.hedge_cost:g} dollars at most"
    most = f"In {policy.hedge_share * 100:g} % of the calls at most{cost}"
    if after == "late":
        late = _found(lambda learned: _played(policy, learned).late)
        when = (
            f"{_played(policy).late:g} s (of a model that thinks {_played(policy, thinks=True).late:g} s); then {late}"
        )
        share = ", or where its share of the deadline is over" if policy.deadline is not None else ""
        return (
            "A late target is not cut off: the next one is asked, too, and whoever answers first is taken. Late "
            f"is, for a whole answer or a stream's first piece, at first {when}. {most}; more where the target answers "
            f"nobody{share}. Not from this machine to another."
        )
    when = "the time that 95 of 100 answers took" if after == "p95" else f"{after:g} s"
    return (
        f"After {when} without an answer (in a stream, without a first piece) the next target is asked, too. Whoever "
        f"answers first is taken, the other cancelled. {most}."
    )
