"""One call: its request, its route, and the answers to the engine's commands that need no waiting."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.engine.commands import Admit, Command, Enter, Outcome, Switch, Verdict, Withdraw
from understudy.engine.decision import Procedure, decide
from understudy.engine.timeouts import Times, is_long
from understudy.errors import Failure, LimitReached, TooManyCalls
from understudy.execution.outcomes import conclude, lack_of
from understudy.execution.reporting import Reporter
from understudy.execution.validation import Validator
from understudy.frozen import copy_with
from understudy.health.admission import Admission, refusal
from understudy.health.leases import CallLeases
from understudy.health.store import Lease
from understudy.messages import Request
from understudy.policy import Policy
from understudy.provider import PLAIN_PACE, Pace, Route
from understudy.response import AttemptOutcome, Finish, LLMResponse
from understudy.routing.adapters import PlainProvider
from understudy.target import Target

if TYPE_CHECKING:
    from understudy.execution.extensions import Extensions
    from understudy.execution.stream_clocks import Clocks
    from understudy.execution.stream_recovery import Delivery
    from understudy.routing.order import Ordering


LONGEST = 600.0  # seconds that an attempt may take where neither a deadline nor the caller says less
SOONEST = 0.01  # seconds before which there is no hedge: a request to another city and back takes longer


@dataclass(frozen=True, slots=True)
class Runtime:
    """The outside world: a clock, two ways to sleep, and randomness. Tests supply their own."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    async_sleep: Callable[[float], Any]
    random: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Aside:
    """Which parts of a call run in a thread, because they would block an event loop.

    Args:
        store: queries and reports to the health store.
        checks: the caller's code that prepares requests and checks answers.
        listeners: the caller's code that listens to events.
        routing: a strategy that the caller wrote.
    """

    store: bool = False
    checks: bool = False
    listeners: bool = False
    routing: bool = False


NOTHING_ASIDE = Aside()
STORE_ASIDE = Aside(store=True)


@dataclass(slots=True)  # not frozen: each attempt makes one
class AttemptState:
    """How one target is asked.

    Args:
        times: how long it is waited for.
        streamed: whether the answer comes as a stream, also if the caller gets it in one piece.
        pace: what its provider knows beforehand.
        began: when the attempt began; None before that.
        clocks: of its stream.
        number: the attempt on this target, from 1.
        told: whether the listeners were told how it ended.
    """

    times: Times
    streamed: bool
    pace: Pace
    began: float | None = None
    clocks: Clocks | None = None
    number: int = 0
    told: bool = False


class Execution:
    """One call: its request, its route, and the answers to the engine's commands that need no waiting.

    Args:
        request: what the caller asks.
        route: the targets that may be asked, in their own order.
        policy: the numbers of this call.
        runtime: clock, sleep and randomness.
        extensions: the caller's own checks and listeners, or None.
        admission: the factory's health, budgets and limits.
        ordering: puts the targets in another order, where the policy says so.
        validator: the caller's own check of answers, or None.
    """

    __slots__ = (
        "_call",
        "_hedged",
        "admission",
        "aside",
        "attempts",
        "beside",
        "concurrent",
        "deadline",
        "delivery",
        "extensions",
        "leases",
        "ordering",
        "policy",
        "providers",
        "refused",
        "reporter",
        "request",
        "runtime",
        "targets",
        "validator",
    )

    def __init__(
        self,
        request: Request,
        route: Route,
        policy: Policy,
        runtime: Runtime,
        extensions: Extensions | None,
        admission: Admission,
        ordering: Ordering,
        validator: Validator | None = None,
    ) -> None:
        self.request = request
        self.targets = route.targets
        self.providers = route.providers
        self.policy = policy
        self.runtime = runtime
        self.extensions = extensions
        self.admission = admission
        self.ordering = ordering
        self.validator = validator
        self.aside = STORE_ASIDE if admission.store.blocks else NOTHING_ASIDE
        self.concurrent = False  # whether two targets can be asked at once
        self.delivery: Delivery | None = None  # what a stream's caller holds
        self.refused: dict[int, LLMResponse] | None = None  # rejected answers
        self.beside: dict[int, Delivery] = {}  # the same, of attempts beside another
        self.attempts: dict[int, AttemptState] = {}
        self.deadline: float | None = None
        self._call = 0
        self._hedged = False  # whether a second request of hedge_share is taken that another may need

    @property
    def orders_aside(self) -> bool:
        """Whether ordering the targets may wait for I/O."""
        routing = self.policy.routing
        return routing != "ordered" and (self.aside.store or (self.aside.routing and callable(routing)))

    def admits_aside(self, index: int) -> bool:
        """Whether checking a target may wait for I/O: a class of three methods may ask its server."""
        return self.aside.store or isinstance(self.providers[index], PlainProvider)

    # ---- the beginning and the end ----

    def visit(self) -> None:
        """Note that the call runs on an event loop that it shares with others: its caller's code runs elsewhere."""
        extensions = self.extensions
        listeners = extensions is not None and extensions.listens
        self.aside = Aside(
            store=self.aside.store or listeners,  # a breaker's change of state is reported from there
            checks=self.validator is not None or (extensions is not None and extensions.acts),
            listeners=listeners,
            routing=True,
        )

    def arrange(self, *, streaming: bool = False) -> None:
        """Put the targets in the order that the policy says.

        Raises:
            ValueError: its strategy returned something that is not an order of the targets.
        """
        if self.policy.routing != "ordered":
            route = self.ordering.order(self.policy, self.request, streaming=streaming)
            self.targets, self.providers = route.targets, route.providers

    def begin(self, *, streaming: bool = False) -> Procedure:
        """Count the call, and return its decision procedure."""
        policy = self.policy
        if policy.routing != "ordered":
            self.arrange(streaming=streaming)
        self._call = self.admission.begin()
        self.reporter = Reporter(self.targets, self.extensions, self.admission.passed_over, self.call_id)
        self.leases = CallLeases(self.admission, policy, self.reporter.breaker)
        if self.reporter.listens:
            self.reporter.started(policy, self.request, streaming=streaming)
        now = self.runtime.clock()
        if policy.deadline is not None:
            self.deadline = now + policy.deadline
        if streaming:
            from understudy.execution.stream_recovery import Delivery

            self.delivery = Delivery(policy, self.runtime.clock, self.deadline)
        timed = len(self.targets) > 1 and (policy.deadline is not None or policy.hedge_after is not None)
        return decide(self.targets, policy, now, self.unable() if timed else ())

    @property
    def call_id(self) -> str:
        """The id by which events name the call; made only if somebody may need it."""
        return "" if self.extensions is None and self.validator is None else f"{self._call:016x}"

    def leave(self) -> None:
        """Release what the call still holds, and tell the listeners if its caller gave up."""
        self.leases.leave()
        self.tell_left()

    def tell_left(self) -> None:
        """Tell the listeners what was still under way when the caller gave up, if the call did not end otherwise."""
        if self.reporter.listens:
            for index in list(self.attempts):
                self.tell_end(index, "cancelled")
            self.reporter.left()

    def tell_end(
        self,
        index: int,
        outcome: AttemptOutcome,
        seconds: float | None = None,
        response: LLMResponse | None = None,
        failure: Failure | None = None,
    ) -> None:
        """Tell the listeners once how an attempt ended, by default after the seconds since it began."""
        attempt = self.attempts.get(index)
        if attempt is None or attempt.told:
            return
        attempt.told = True
        if attempt.began is None:  # its beginning was not reported either
            return
        took = self.runtime.clock() - attempt.began if seconds is None else seconds
        self.reporter.attempt_finished(index, attempt.number, outcome, took, response, failure)

    def conclude(self, verdict: Verdict, response: LLMResponse | None) -> LLMResponse:
        """Turn the verdict into the caller's response, log a total failure once, and tell the listeners."""
        final = conclude(verdict, response, self.targets, self.policy)
        if final.success:
            answered = (one.target for one in reversed(final.attempts) if one.outcome == "succeeded")
            self.admission.latest = next(answered, self.admission.latest)
        if self.reporter.listens:
            self.reporter.finished(final)
        return final

    # ---- commands that need no waiting ----

    def settle(self, command: Command) -> Outcome:
        """Answer a command that needs no waiting, and report a switch."""
        kind = type(command)
        if kind is Admit:
            assert type(command) is Admit
            return self._admit(command)
        if kind is Withdraw:
            return Outcome(self.runtime.clock(), refused=not self.leases.withdraw_retry())
        if type(command) is Switch:
            self.reporter.switch(command)
            return Outcome(self.runtime.clock())
        assert kind is Enter
        return self._enter()

    def _enter(self) -> Outcome:
        if self.leases.enter():
            return Outcome(self.runtime.clock())
        limit = self.policy.max_concurrent_calls
        full = TooManyCalls(f"{limit} calls are under way, the most that max_concurrent_calls allows")
        return Outcome(self.runtime.clock(), skip=full)

    def _admit(self, command: Admit) -> Outcome:
        index = command.index
        failure = lack_of(self.targets[index], self.providers[index], self.request, self.delivery)
        if failure is None and command.beside:
            failure = self._reason_not_beside(command)
        if failure is not None:
            return self._skipped(command, Outcome(self.runtime.clock(), skip=failure))
        target, admission = self.targets[index], self.admission
        request = self.request if self.request.model is None else self._request_for(target)
        pace, streaming = self._pace(index, request), self.delivery is not None
        streamed = streaming or (is_long(self.policy, request, pace) and self._streams(index))
        name = admission.name_of(target.position, request.model)
        claim = admission.claim(target.position, request, self._call, self._longest_attempt(), command.forced)
        claim.thinks, claim.streamed = pace.thinks, streamed
        lease = self.leases.take(index, name, claim)
        if lease.granted:
            if (lease.probe or lease.doubt) and not streamed:
                claim.streamed = streamed = self._streams(index)
            times = admission.times(target.position, self.policy, request, pace, lease.learned, streamed, not streaming)
            self.attempts[index] = AttemptState(times, streamed, pace)
            return self._admitted(index, times, lease)
        self.give_back_hedge()
        skip, now = refusal(lease, target.provider), self.runtime.clock()
        outcome = Outcome(now, skip=skip, free_in=lease.free_in, busy=lease.busy, breaker=lease.state)
        if lease.busy:
            outcome.draw = self.runtime.random()
        return self._skipped(command, outcome)

    def _admitted(self, index: int, times: Times, lease: Lease) -> Outcome:
        policy, streaming = self.policy, self.delivery is not None
        after: float | None = None
        look: float | None = None
        learned = lease.learned
        usual = learned.first_p95 if streaming else learned.end_p95
        median = learned.first_median if streaming else learned.end_median
        if not self.concurrent:
            pass
        elif policy.hedge_after == "late":
            after = times.late
            look = None if usual is None else max(usual, SOONEST)
        elif policy.hedge_after == "p95":
            after = None if usual is None else max(usual, SOONEST)
        elif policy.hedge_after is not None:
            after = float(policy.hedge_after)
        most = times.first if streaming else times.answer
        if times.usual is not None:
            self._say_what_is_too_short(index, most, times.usual)
        # `value` is a property, written in Python, and this is done in every call.
        return Outcome(
            self.runtime.clock(),
            breaker=lease.state,
            most=most,
            beside_after=after,
            look_after=look,
            usual=usual,
            median=median,
            probe=lease.probe > 0 and self.concurrent,
        )

    def _streams(self, index: int) -> bool:
        return self.policy.whole_answers != "plain" and self.providers[index].capabilities.streaming

    def _pace(self, index: int, request: Request) -> Pace:
        try:
            return self.providers[index].pace(request)
        except Exception:  # a mistake in one plugin must not end a call
            return PLAIN_PACE

    def _say_what_is_too_short(self, index: int, most: float, usual: float) -> None:
        """Warn once about a time limit that the caller set and that ordinary answers exceed."""
        policy, named = self.policy, None
        if policy.attempt_timeout is not None or (self.delivery is not None and policy.first_token_timeout is not None):
            named = ("timeout", most)
        if policy.deadline is not None and policy.deadline < most:
            named = ("deadline", policy.deadline)
        if named is not None and named[1] < usual:
            self.admission.warn_once(self.targets[index].label, *named, usual, streaming=self.delivery is not None)

    def _request_for(self, target: Target) -> Request:
        """Return the request without a model that this target is not asked for."""
        if self.request.model is None or (target.position == 0 and target.model is None):
            return self.request
        return copy_with(self.request, model=None)

    def _longest_attempt(self) -> float:
        """Return the most seconds that an attempt may hold its lease."""
        named = None if self.delivery is not None else self.policy.attempt_timeout
        most = LONGEST if named is None else named
        if self.deadline is None:
            return most
        left = max(self.deadline - self.runtime.clock(), 0.0)
        # A stream may go on for longer than an attempt that is waited for as a whole.
        return left if self.delivery is not None else min(left, most)

    def _skipped(self, command: Admit, outcome: Outcome) -> Outcome:
        self.leases.give_back_retry()
        if not command.beside and outcome.skip is not None:
            self.reporter.skipped(command.index, outcome.skip, outcome.breaker)
        return outcome

    def unable(self) -> Collection[int]:
        """Return the targets that cannot take over from the first one: no time is reserved for them."""
        return [index for index in range(1, len(self.targets)) if self._lacks_for_sure(index)]

    def _lacks_for_sure(self, index: int) -> bool:
        # A class of three methods may ask its server whether it runs; nobody waits for that before its turn.
        return not isinstance(self.providers[index], PlainProvider) and self.lack(index) is not None

    def lack(self, index: int) -> Failure | None:
        """Return why a target cannot answer this request at all, without asking about its health."""
        return lack_of(self.targets[index], self.providers[index], self.request, self.delivery)

    def _reason_not_beside(self, command: Admit) -> Failure | None:
        """Return why a target is not to be asked in parallel with another."""
        target, limit = self.targets[command.index], self.policy.hedge_cost
        if command.beside == "probe":
            return None  # it is asked instead of the probe's target, not in addition
        suspect = command.beside != "hedge" and self._is_suspect(command.other)
        if command.early and not suspect:
            return LimitReached("it is not late yet", provider=target.provider)
        if command.beside == "late" and self._leaves_this_machine(command):
            return LimitReached("a request to this machine is not sent elsewhere unasked", provider=target.provider)
        if command.beside == "turn":
            return None  # it would be asked anyway, later
        if limit is not None:
            cost = self.admission.estimate(target.position, self._request_for(target))
            if cost is None or cost > limit:
                return LimitReached(f"hedge_cost of {limit:g} dollars", provider=target.provider)
        if suspect:
            return None
        self._hedged = self.admission.hedges.withdraw()
        if not self._hedged:
            return LimitReached(f"hedge_share of {self.policy.hedge_share:g}", provider=target.provider)
        return None

    def give_back_hedge(self) -> None:
        if self._hedged:
            self._hedged = False
            self.admission.hedges.give_back()

    def _is_suspect(self, index: int) -> bool:
        """Return whether a target seems to answer nobody: an attempt beside it is then no extra one."""
        target = self.targets[index]
        return self.admission.look(target.position, self._request_for(target).model).suspect

    def _leaves_this_machine(self, command: Admit) -> bool:
        other = self.attempts.get(command.other)
        here = other is not None and other.pace.local
        return here and not self._pace(command.index, self._request_for(self.targets[command.index])).local

    # ---- imports before the first attempt ----

    def is_ready(self, index: int) -> bool:
        """Return whether a provider has imported what its first call needs."""
        return self.admission.is_ready(self.targets[index].position)

    def make_ready(self, index: int) -> None:
        """Let a provider import what its first call needs: this time does not count as the vendor's silence."""
        self.admission.make_ready(self.targets[index].position)


def finish(execution: Execution, verdict: Verdict, answer: LLMResponse | None) -> Finish:
    """Return the last event of a stream.

    Raises:
        StreamInterrupted: the caller holds a part of an answer that no target continued.
    """
    final = execution.conclude(verdict, answer)
    if verdict.end == "interrupted":
        final.raise_for_failure()
    return Finish(final)
