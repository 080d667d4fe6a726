"""What a call would do now: who would be asked, in which order, and why. Nothing is sent, and nothing is reserved.

The engine itself runs on the targets' health as it is, so the plan is what the record of a call would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from textwrap import wrap
from typing import Literal

from understudy.engine.call_state import SLICE
from understudy.engine.commands import Admit, Call, Command, Enter, Outcome, Withdraw
from understudy.engine.timeouts import is_long, times_for
from understudy.errors import Failure, LimitReached, ServerError, TargetFailure, TargetResting, TooManyCalls
from understudy.execution.call import Execution
from understudy.explain.dry_run import Rehearsal, rehearse
from understudy.explain.fates import listed
from understudy.explain.policy_text import title_of
from understudy.extras.pricing import estimate_usage
from understudy.health.admission import refusal
from understudy.health.budgets import WINDOW
from understudy.health.rate_windows import MINUTE, UNITS, Allowance
from understudy.health.store import Claim, Lease
from understudy.policy import Policy
from understudy.target import BreakerState

WIDTH = 80  # columns of a plan as text
LONGEST_MINUTE = MINUTE + SLICE  # seconds after which a limit per minute has room again, at the latest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """One target's part in a call that has not been made yet.

    Args:
        label: the route as it was named, for example "gemini" or "claude:claude-haiku-4-5".
        provider: the provider's name.
        model: the model that would be asked, if it is known.
        part: "asked": the call begins with it, or it is asked at once in parallel with a probe; "only if": it is asked
            if those before it fail; "skipped": it is not asked at all.
        why: the reason for that: "primary", "gemini fails", "circuit open, back in 12 s".
        breaker: the state of its circuit breaker.
        free_in: seconds until a breaker or a cooldown releases it; 0.0 for now.
        timeout: most seconds for its first attempt, if those before it were asked once and took all their time; None if
            it is not asked.
        price: at most how many US dollars an attempt costs, by estimate; None if that is not known.
        left: what is left of each of the caller's own limits.
        on_failure: what follows a failure that may pass; empty where it is not asked.
        warning: that ordinary answers exceed the time limit which the caller set; empty if they do not.
    """

    label: str
    provider: str
    model: str | None = None
    part: Literal["asked", "only if", "skipped"]
    why: str
    breaker: BreakerState = BreakerState.CLOSED
    free_in: float = 0.0
    timeout: float | None = None
    price: float | None = None
    left: dict[str, float] = field(default_factory=dict)
    on_failure: str = ""
    warning: str = ""

    @property
    def now(self) -> str:
        """The part and the reason in one: "asked: primary", "only if gemini fails"."""
        return f"{self.part} {self.why}" if self.part == "only if" else f"{self.part}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a call would do now; as a string, `str(plan)`, it is for people.

    Args:
        targets: every target, in the order in which they would be tried.
        policy: the numbers of the call.
        input_tokens: an estimate of the request's tokens.
        output_tokens: the most tokens of the answer.
    """

    targets: tuple[PlannedTarget, ...]
    policy: Policy
    input_tokens: int
    output_tokens: int

    @property
    def first(self) -> PlannedTarget | None:
        """The target that would be asked first; None if none can be."""
        return next((target for target in self.targets if target.part == "asked"), None)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def make_plan(execution: Execution) -> Plan:
    """Find out what a call would do."""
    execution.arrange()
    usage = estimate_usage(execution.request)
    return Plan(
        targets=tuple(_Stage(execution).rows()),
        policy=execution.policy,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )


class _TargetState:
    """What is known about one target without asking it."""

    def __init__(self, execution: Execution, index: int) -> None:
        target, provider, admission = execution.targets[index], execution.providers[index], execution.admission
        request = execution.request
        own = target.model or (request.model if target.position == 0 else None)
        request = replace(request, model=own)
        self.target = target
        self.model = own or provider.default_model
        self.price = admission.estimate(target.position, request)
        self.pace = execution._pace(index, request)
        self.health = admission.look(target.position, None if target.model else own)
        claim = admission.claim(target.position, request, 0, 0.0, False)
        self.most = {} if claim.limits is None else Allowance(claim.limits).left(0.0)
        self.left = {unit: self.health.left.get(unit, most) for unit, most in self.most.items()}
        # After a rate limit's first cooldown everybody may ask; after anything else one request probes the target
        # first.
        self.tested = self.health.state in (BreakerState.OPEN, BreakerState.HALF_OPEN) or bool(self.health.refused)
        self.probed = self.health.state is BreakerState.HALF_OPEN
        self.learned = self.health.learned[self.pace.thinks]
        long = is_long(execution.policy, request, self.pace)
        times = partial(times_for, execution.policy, request, self.pace, self.learned, whole=True)
        streams = execution.policy.whole_answers != "plain" and provider.capabilities.streaming
        self.probe_times = times(streamed=streams)
        self.times = self.probe_times if self.probed else times(streamed=streams and long)
        self.usual, self.median = self.learned.end_p95, self.learned.end_median
        self.room_in: float | None = None  # seconds until a limit has room, at most; None where it never will have
        self.lack, self.resting, self.limited = execution.lack(index), self._resting(), self._limited(claim)
        self.skip = self.lack or self.resting or self.limited

    def _resting(self) -> Failure | None:
        """Return why a breaker or a cooldown skips the target."""
        if self.health.free_in <= 0:
            return None
        reason = "cooldown" if self.health.state is BreakerState.COOLING else "breaker"
        if self.health.refused:
            reason = "refusal"
        lease = Lease(False, self.health.state, self.health.free_in, reason, refused=self.health.refused)
        return refusal(lease, self.target.provider)

    def _limited(self, claim: Claim) -> Failure | None:
        """Return which of the caller's limits skips the target, and note when it has room at the latest."""
        for unit, amount in zip(UNITS, (1.0, claim.tokens, claim.cost), strict=True):
            left = self.left.get(unit, amount)
            if amount > left:
                fits_later = unit != UNITS[2] and amount <= self.most[unit]
                self.room_in = LONGEST_MINUTE if fits_later else None
                return LimitReached(f"{left:.6g} {unit} left, {amount:.6g} needed", provider=self.target.provider)
        return None

    def admit(self, now: float, forced: bool, asked: Sequence[float]) -> Outcome:
        """Say whether the target would be asked so many seconds from now, having been asked at these times."""
        state = self.health.state
        free_in = self.health.free_in
        if self.lack is not None:
            return Outcome(now, skip=self.lack, breaker=state)
        if self.resting is not None and not forced and now < free_in:
            return Outcome(now, skip=self.resting, free_in=free_in - now, breaker=state)
        if self.limited is not None and (self.room_in is None or now < self.room_in):
            room_in = None if self.room_in is None else self.room_in - now
            return Outcome(now, skip=self.limited, free_in=room_in, breaker=state)
        recent = [at for at in asked if at > now - LONGEST_MINUTE]
        left = (self.left if now < LONGEST_MINUTE else self.most).get(UNITS[0], float("inf"))
        if len(recent) >= left:
            free_in = recent[0] + LONGEST_MINUTE - now
            return Outcome(now, skip=LimitReached("played"), free_in=free_in, breaker=state)
        times = self.probe_times if self.tested and now >= free_in else self.times
        most = min(times.answer, times.first)
        return Outcome(now, breaker=state, most=most, usual=self.usual, median=self.median)


class _Stage:
    """The targets as they are, and the engine that runs on them."""

    def __init__(self, execution: Execution) -> None:
        self.policy = execution.policy
        self.targets = execution.targets
        self.seats = [_TargetState(execution, index) for index in range(len(execution.targets))]
        bulkhead = execution.admission.bulkhead
        full = bulkhead is not None and bulkhead.under_way >= bulkhead.limit
        self.full = TooManyCalls(f"{bulkhead.limit} calls are under way") if bulkhead is not None and full else None
        self.retries = execution.admission.retries.left()
        self.unable = execution.unable()

    def play(self, failure_of: Callable[[int], Failure | None], *, hanging: bool) -> Rehearsal:
        """Simulate the call.

        Args:
            failure_of: how a target's attempts fail; None where it answers.
            hanging: whether an attempt takes all its time.
        """
        retried: list[float] = []
        asked: list[list[float]] = [[] for _ in self.seats]

        def answer(command: Command, now: float) -> Outcome:
            if isinstance(command, Enter):
                return Outcome(now, skip=self.full)
            if isinstance(command, Admit):
                return self.seats[command.index].admit(now, command.forced, asked[command.index])
            if isinstance(command, Call):
                asked[command.index].append(now)
                at, failure = now + command.timeout if hanging else now, failure_of(command.index)
                probe = failure is not None and self.seats[command.index].tested
                free_in = self.policy.breaker_open if probe else None  # one failure opens it again
                return Outcome(
                    at, failure=failure, draw=1.0, free_in=free_in, breaker=BreakerState.OPEN, index=command.index
                )
            if isinstance(command, Withdraw):
                retried.append(now)
                return Outcome(now, refused=sum(at > now - WINDOW for at in retried) > self.retries)
            return Outcome(now)

        return rehearse(self.targets, self.policy, answer, self.unable)

    def rows(self) -> Iterator[PlannedTarget]:
        """Describe every target's part, in the order in which they would be tried."""
        played = self.play(lambda index: TargetFailure("played"), hanging=True)
        come_to = [c for c in played.commands if isinstance(c, Admit)]
        order = list(dict.fromkeys([*(c.index for c in come_to), *range(len(self.seats))]))
        forced = [c.index for c in come_to if c.forced]
        before: list[int] = []  # who is asked before
        for index in order:
            able = self.seats[index].skip is None and self.full is None
            if able or index in forced or (not before and played.asked[:1] == (index,)):
                yield self._asked(index, before, played, index in forced)
                before.append(index)
            else:
                yield self._skipped(index, order, played)

    def _asked(self, index: int, before: list[int], played: Rehearsal, forced: bool) -> PlannedTarget:
        beside = len(before) == 1 and self._is_probe(before[0]) and not forced
        return self._row(
            index,
            "asked" if beside or not before else "only if",
            f"beside the probe of {self._names(before)}" if beside else self._reason(index, before, played, forced),
            timeout=played.timeout(index),
            on_failure=self._on_failure(index, before),
        )

    def _is_probe(self, index: int) -> bool:
        seat = self.seats[index]
        return seat.probed and seat.skip is None

    def _reason(self, index: int, before: list[int], played: Rehearsal, forced: bool) -> str:
        seat = self.seats[index]
        if seat.skip is not None:
            then = "is free soonest" if forced else f"is waited for, {sum(played.waits(index)):.3g} s"
            return f"every target is skipped, and this one {then} ({seat.skip.brief})"
        if before:
            words = f"{self._names(before)} {'fails' if len(before) == 1 else 'fail'}"
            after = self._hedge_after(before[0], index, played) if len(before) == 1 else None
            return words if after is None else f"{words}, or does not answer within {after:.3g} s"
        passed_over = [c.index for c in played.commands if isinstance(c, Admit)]
        passed_over = passed_over[: passed_over.index(index)]
        if passed_over:
            words = f"{self._names(passed_over)} {'is' if len(passed_over) == 1 else 'are'} skipped"
        else:
            words = next(c.reason for c in played.commands if isinstance(c, Call) and c.index == index)
        return f"{words}; its circuit lets one request at a time through" if self._is_probe(index) else words

    def _hedge_after(self, index: int, other: int, played: Rehearsal) -> float | None:
        """Return after how many seconds another target is asked beside this one."""
        after, seat, turn = self.policy.hedge_after, self.seats[index], played.timeout(index)
        if after != "late":
            return seat.usual if isinstance(after, str) else after
        stays = seat.pace.local and not self.seats[other].pace.local
        late = float("inf") if stays else seat.times.late
        if self.policy.deadline is not None and turn is not None:
            late = min(late, turn)
        return None if late == float("inf") else late

    def _on_failure(self, index: int, before: list[int]) -> str:
        """Say what follows a failure that may pass."""

        def failure_of(other: int) -> Failure | None:
            return ServerError("played") if other == index else TargetFailure("played") if other in before else None

        played = self.play(failure_of, hanging=False)
        others = [c.index for c in played.commands if isinstance(c, Call) and c.index not in (index, *before)]
        retries = played.asked.count(index) - 1
        asked = next((n for n, c in enumerate(played.commands) if isinstance(c, Call) and c.index == index), 0)
        waits = replace(played, commands=played.commands[asked:] if retries else played.commands).waits(index)
        seconds = sum(waits)
        then = self.targets[others[0]].label if others else "the call has failed"
        if not seconds and not retries:
            return f"{then}, at once" if others else then
        if not retries:  # it is waited for, and then a limit is in the way
            return f"{then}, after {seconds:g} s"
        up_to = "up to " if self.policy.jitter == "full" else ""
        return f"{up_to}{retries} {'retry' if retries == 1 else 'retries'} within {seconds:g} s, then {then}"

    def _skipped(self, index: int, order: list[int], played: Rehearsal) -> PlannedTarget:
        skip = self.full or self.seats[index].skip
        assert skip is not None  # or it would be asked
        words = skip.brief if isinstance(skip, TargetResting) or not skip.message else skip.message
        if index in played.asked:
            others = list(dict.fromkeys(played.asked[: played.asked.index(index)]))
            words = f"{words}; asked then if {self._names(others)} {'fails' if len(others) == 1 else 'fail'}"
        return self._row(index, "skipped", words)

    def _row(
        self,
        index: int,
        part: Literal["asked", "only if", "skipped"],
        why: str,
        timeout: float | None = None,
        on_failure: str = "",
    ) -> PlannedTarget:
        seat = self.seats[index]
        return PlannedTarget(
            label=seat.target.label,
            provider=seat.target.provider,
            model=seat.model,
            part=part,
            why=why,
            breaker=seat.health.state,
            free_in=seat.health.free_in,
            timeout=timeout,
            price=seat.price,
            left=seat.left,
            on_failure=on_failure,
            warning=self._warning(seat) if timeout is not None else "",
        )

    def _warning(self, seat: _TargetState) -> str:
        """Say if the caller's own time limit is too short for ordinary answers."""
        named = [time for time in (self.policy.attempt_timeout, self.policy.deadline) if time is not None]
        if not named or seat.usual is None or min(named) >= seat.usual:
            return ""
        return f"95 of 100 answers take {seat.usual:.3g} s: many will be cut after {min(named):g} s"

    def _names(self, indices: Sequence[int]) -> str:
        return listed([self.targets[index].label for index in indices])


# ---- as a string ----


def _lines(plan: Plan) -> Iterator[str]:
    deadline = plan.policy.deadline
    time = "no deadline" if deadline is None else f"{deadline:g} s for the whole call"
    read = f"about {plan.input_tokens} token{'' if plan.input_tokens == 1 else 's'} to read"
    tokens = f"{read}, {plan.output_tokens} at most to write"
    yield from wrap(f"Policy {title_of(plan.policy)}; {time}; {tokens}.", WIDTH)
    yield ""
    left = min(max(len(name) for one in plan.targets for name in _names(one)), WIDTH // 3)
    names = [[piece for name in dict.fromkeys(_names(one)) for piece in wrap(name, left)] for one in plan.targets]
    for number, (one, pair) in enumerate(zip(plan.targets, names, strict=True), 1):
        column = [line for part in _words(one) for line in wrap(part, WIDTH - left - 5, subsequent_indent="  ")]
        for row in range(max(len(pair), len(column))):
            mark = str(number) if row == 0 else ""
            name = pair[row] if row < len(pair) else ""
            yield f"{mark:3}{name:{left}}  {column[row] if row < len(column) else ''}".rstrip()
    if plan.first is None:
        yield from ("", "Nobody can be asked: the call would fail at once.")


def _names(one: PlannedTarget) -> Iterator[str]:
    yield one.label
    if one.model and not one.label.endswith(f":{one.model}"):
        yield one.model


def _words(one: PlannedTarget) -> Iterator[str]:
    yield one.now
    numbers = []
    if one.timeout is not None:
        numbers.append(f"{one.timeout:.3g} s for an attempt")
        if one.price is not None:
            numbers.append(f"${one.price:.4f} at most" if one.price else "free")
        if one.breaker is not BreakerState.CLOSED:
            numbers.append(f"circuit {one.breaker}")
    numbers += [f"{amount:{',.0f' if amount >= 100 else '.3g'}} {unit} left" for unit, amount in one.left.items()]
    yield ", ".join(numbers)
    if one.on_failure:
        yield f"on a passing failure: {one.on_failure}"
    if one.warning:
        yield one.warning
