"""What the drivers share: one call's cast, and what is done with a command or an answer besides waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from understudy.admission import EVIDENCE, Admission, refusal, report_of
from understudy.answers import Validator, check_answer, usage_fault
from understudy.breaker import Effect
from understudy.clocks import HAIR, Clocks
from understudy.commands import Admit, Call, Cancel, Command, Enter, Outcome, Switch, Target, Verdict, Withdraw
from understudy.concluding import conclude
from understudy.copying import copy_with
from understudy.delivery import Delivery
from understudy.engine import Procedure, decide
from understudy.errors import (
    Failure,
    LimitReached,
    RequestRejected,
    Scope,
    StreamInterrupted,
    Timeout,
    TooManyCalls,
)
from understudy.failing import OutOfTime, interrupted, lack_of, own_failure
from understudy.holdings import Holdings
from understudy.messages import Request
from understudy.plain import PlainProvider
from understudy.policy import Policy
from understudy.prices import estimate_waste
from understudy.provider import PLAIN_PACE, ChatProvider, Pace
from understudy.reporting import Reporter
from understudy.response import LLMResponse, StreamEvent
from understudy.store import Lease, Report
from understudy.times import Times, is_long, times_for

if TYPE_CHECKING:
    from understudy.extensions import Extensions
    from understudy.ordering import Ordering


CLOSING = 1.0  # seconds that a stream gets to close, where its call has them
LONGEST = 600.0  # seconds that an attempt may take where neither a deadline nor the caller says less
LONGEST_SILENCE = 600.0  # seconds that a provider may let a stream wait at the very most
SOONEST = 0.01  # seconds before which nobody is hedged: a request to another city and back takes longer


@dataclass(frozen=True, slots=True)
class Runtime:
    """The world outside: a clock, two ways to sleep, and chance. Tests bring their own."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    async_sleep: Callable[[float], Any]
    random: Callable[[], float]


@dataclass(slots=True)  # not frozen, because each attempt makes one
class Approach:
    """How one target is asked.

    Args:
        times: how long it is waited for.
        streamed: whether the answer comes as a stream, also where the caller is given it whole.
        pace: what its provider knows beforehand.
        began: when the attempt began; None before that.
        clocks: of its stream.
    """

    times: Times
    streamed: bool
    pace: Pace
    began: float | None = None
    clocks: Clocks | None = None


class Performance:
    """One call: its request, its cast, and the answers to the engine's commands that need no waiting.

    Args:
        request: what the caller asks.
        targets: the route, in its own order.
        providers: the provider of each target, in the same order.
        policy: the numbers of this call.
        runtime: clock, sleep and chance.
        extensions: the caller's own checks and listeners, or None.
        admission: the factory's health, budgets and limits.
        ordering: puts the targets in another order, where the policy says so.
        validator: the caller's own check of answers, or None.
    """

    __slots__ = (
        "_approaches",
        "_beside",
        "_call",
        "_hedged",
        "_refused",
        "admission",
        "asks_elsewhere",
        "concurrent",
        "deadline",
        "delivery",
        "extensions",
        "guests",
        "holdings",
        "hosted",
        "listeners",
        "ordering",
        "policy",
        "providers",
        "reporter",
        "request",
        "runtime",
        "targets",
        "validator",
    )

    def __init__(
        self,
        request: Request,
        targets: Sequence[Target],
        providers: Sequence[ChatProvider],
        policy: Policy,
        runtime: Runtime,
        extensions: Extensions | None,
        admission: Admission,
        ordering: Ordering,
        validator: Validator | None = None,
    ) -> None:
        self.request = request
        self.targets = targets
        self.providers = providers
        self.policy = policy
        self.runtime = runtime
        self.extensions = extensions
        self.admission = admission
        self.ordering = ordering
        self.validator = validator
        self.asks_elsewhere = admission.store.blocks  # whether the event loop must not wait for an answer
        self.concurrent = False  # whether two targets can be asked at once
        self.hosted = False  # whether the event loop is everybody's
        self.guests = False  # whether code of the caller's that prepares and checks would hold it up
        self.listeners = False  # whether listeners would
        self.delivery: Delivery | None = None  # what a stream's caller holds
        self._refused: dict[int, LLMResponse] | None = None  # answers that will not do
        self._beside: tuple[int, Delivery] | None = None  # the same, of a second attempt beside the first
        self._approaches: dict[int, Approach] = {}
        self.deadline: float | None = None
        self._call = 0
        self._hedged = False  # whether a second request of hedge_share is taken that another may need

    @property
    def arranges_elsewhere(self) -> bool:
        """Whether the order of the targets is found by questions that wait for input or output."""
        routing = self.policy.routing
        return routing != "ordered" and (self.asks_elsewhere or (self.hosted and callable(routing)))

    def admits_elsewhere(self, index: int) -> bool:
        """Whether asking for a target waits for input or output: a class of three methods may ask its server."""
        return self.asks_elsewhere or isinstance(self.providers[index], PlainProvider)

    # ---- the beginning and the end ----

    def visit(self) -> None:
        """Note that the call runs on an event loop that it shares with others: code of its caller's runs elsewhere."""
        acts = self.extensions is not None and self.extensions.acts
        self.guests = self.validator is not None or acts
        self.listeners = self.extensions is not None and self.extensions.listens
        self.asks_elsewhere = self.asks_elsewhere or self.listeners
        self.hosted = True

    def arrange(self, *, streaming: bool = False) -> None:
        """Put the targets in the order that the policy says.

        Raises:
            ValueError: its strategy returned something that is not an order of the targets.
        """
        if self.policy.routing != "ordered":
            self.targets, self.providers = self.ordering.order(self.policy, self.request, streaming=streaming)

    def begin(self, *, streaming: bool = False) -> Procedure:
        """Count the call, and return its decision procedure."""
        policy = self.policy
        if policy.routing != "ordered":
            self.arrange(streaming=streaming)
        self.reporter = Reporter(self.targets, self.extensions, self.admission.passed_over)
        self.holdings = Holdings(self.admission, policy, self.reporter.breaker)
        self._call = self.admission.begin()
        now = self.runtime.clock()
        if policy.deadline is not None:
            self.deadline = now + policy.deadline
        if streaming:
            self.delivery = Delivery(policy, self.runtime.clock, self.deadline)
        timed = len(self.targets) > 1 and (policy.deadline is not None or policy.hedge_after is not None)
        return decide(self.targets, policy, now, self.unable() if timed else ())

    def leave(self) -> None:
        """Give back what the call still holds, and tell the listeners where its caller gave up."""
        self.holdings.leave()
        if self.reporter.listens:
            self.reporter.left()

    def conclude(self, verdict: Verdict, response: LLMResponse | None) -> LLMResponse:
        """Turn the verdict into the caller's response, log a total failure once, and tell the listeners."""
        final = conclude(verdict, response, self.targets, self.policy)
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
            return Outcome(self.runtime.clock(), refused=not self.holdings.withdraw_retry())
        if type(command) is Switch:
            self.reporter.switch(command)
        elif kind is Enter:
            return self._enter()
        return Outcome(self.runtime.clock())

    def _enter(self) -> Outcome:
        if self.holdings.enter():
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
        lease = self.holdings.take(index, name, claim)
        if lease.granted:
            if (lease.probe or lease.doubt) and not streamed:
                claim.streamed = streamed = self._streams(index)
            times = times_for(self.policy, request, pace, lease.learned, streamed=streamed, whole=not streaming)
            self._approaches[index] = Approach(times, streamed, pace)
            return self._admitted(index, times, lease)
        self._give_back_hedge()
        skip, now = refusal(lease, target.provider), self.runtime.clock()
        outcome = Outcome(now, skip=skip, free_in=lease.free_in, busy=lease.busy, breaker=lease.state.value)
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
            breaker=lease.state._value_,
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
        """Warn once of a time that the caller named and that ordinary answers do not keep."""
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
        """Return the most seconds that an attempt may hold what it takes."""
        most = (
            LONGEST if self.policy.attempt_timeout is None or self.delivery is not None else self.policy.attempt_timeout
        )
        if self.deadline is None:
            return most
        left = max(self.deadline - self.runtime.clock(), 0.0)
        # A stream may go on for longer than an attempt that is waited for as a whole.
        return left if self.delivery is not None else min(left, most)

    def _skipped(self, command: Admit, outcome: Outcome) -> Outcome:
        self.holdings.give_back_retry()
        if not command.beside and outcome.skip is not None:
            self.reporter.skipped(command.index, outcome.skip, outcome.breaker)
        return outcome

    def unable(self) -> Collection[int]:
        """Return who cannot take the part of the first target: no time is kept for them."""
        return [index for index in range(1, len(self.targets)) if self._lacks_for_sure(index)]

    def _lacks_for_sure(self, index: int) -> bool:
        # A class of three methods may ask its server whether it runs; nobody waits for that before its turn.
        return not isinstance(self.providers[index], PlainProvider) and self.lack(index) is not None

    def lack(self, index: int) -> Failure | None:
        """Return why a target cannot answer this request at all, without asking about its health."""
        return lack_of(self.targets[index], self.providers[index], self.request, self.delivery)

    def _reason_not_beside(self, command: Admit) -> Failure | None:
        """Return why a target is not to be asked beside another."""
        target, limit = self.targets[command.index], self.policy.hedge_cost
        if command.beside == "probe":
            return None  # it is asked in the probe's place, and not besides
        suspect = command.beside != "hedge" and self._is_suspect(command.other)
        if command.early and not suspect:
            return LimitReached("it is not late yet", provider=target.provider)
        if command.beside == "late" and self._leaves_this_machine(command):
            return LimitReached("a request to this machine is not sent elsewhere unasked", provider=target.provider)
        if command.beside == "turn":
            return None  # it would be asked instead, were it not asked besides
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

    def _give_back_hedge(self) -> None:
        if self._hedged:
            self._hedged = False
            self.admission.hedges.give_back()

    def _is_suspect(self, index: int) -> bool:
        """Return whether a target seems not to answer anybody: who is asked beside it does not come on top."""
        target = self.targets[index]
        return self.admission.look(target.position, self._request_for(target).model).suspect

    def _leaves_this_machine(self, command: Admit) -> bool:
        other = self._approaches.get(command.other)
        here = other is not None and other.pace.local
        return here and not self._pace(command.index, self._request_for(self.targets[command.index])).local

    # ---- one attempt ----

    def prepare(self, command: Call) -> Request:
        """Make the request for one attempt.

        Raises:
            RequestRejected: an extension refused it.
        """
        self.holdings.send(command.index)
        if self._refused:
            self._refused.pop(command.index, None)  # of an attempt that was given up
        target = self.targets[command.index]
        state = self.holdings.state(command.index) if self.reporter.listens else "closed"  # nobody would hear of it
        self.reporter.attempt_started(command, state)
        model = target.model or (self.request.model if target.position == 0 else None)
        delivery = None if self.delivery is None else self._delivery_for(command)
        approach = self._approaches[command.index]
        approach.began = self.runtime.clock()
        timeout = self._provider_timeout(command, approach)
        if approach.streamed:
            approach.clocks = self._clocks_for(command, approach)
        request, options = self.request, self.request.options
        if options:
            options = self._options(command.index)
        if request.model != model or request.timeout != timeout or request.options is not options:
            request = copy_with(request, model=model, timeout=timeout, options=options)
        if approach.streamed and self.delivery is None:
            request = copy_with(request, whole=True)
        if command.adaptation is not None:
            request = copy_with(request, adaptation=command.adaptation)
        if delivery is not None:
            assert approach.clocks is not None
            delivery.begin(target.label, approach.clocks)
            request = delivery.resume(request)
        if self.extensions is None:
            return request
        try:
            return self.extensions.prepare_request(request, target.provider)
        except Failure:
            raise
        except Exception as error:
            raise RequestRejected(f"an extension failed on the request: {type(error).__name__}: {error}") from error

    def _delivery_for(self, command: Call) -> Delivery:
        assert self.delivery is not None
        if not command.alongside:
            self._beside = None  # nobody else is under way any more
            return self.delivery
        self._beside = command.index, Delivery(self.policy, self.runtime.clock, self.deadline)
        return self._beside[1]

    def delivery_of(self, index: int) -> Delivery:
        """Return what the caller of a stream holds of the attempt under way on a target."""
        if self._beside is not None and self._beside[0] == index:
            return self._beside[1]
        assert self.delivery is not None  # it is a stream
        return self.delivery

    def patience_to_close(self) -> float:
        """Return the seconds that a stream gets to close."""
        left = CLOSING if self.deadline is None else self.deadline - self.runtime.clock()
        return min(max(left, 0.001), CLOSING)

    def _clocks_for(self, command: Call, approach: Approach) -> Clocks:
        times = approach.times
        if self.delivery is not None and command.timeout < times.first:
            times = replace(times, first=command.timeout)
        return Clocks(times, self.runtime.clock)

    def _provider_timeout(self, command: Call, approach: Approach) -> float:
        """Return the seconds that a provider may take: for a whole answer, or between two signs of a stream."""
        if not approach.streamed:
            return command.timeout
        times = approach.times
        longest = min(max(times.first, times.idle), times.silence, LONGEST_SILENCE)
        if self.delivery is None:
            longest = min(longest, command.timeout)
        left = longest if self.deadline is None else self.deadline - self.runtime.clock()
        return max(min(longest, left), 0.001)  # a provider takes no timeout of 0

    def is_streamed(self, index: int) -> bool:
        """Return whether a target's whole answer is asked for as a stream."""
        return self._approaches[index].streamed

    def clocks(self, index: int) -> Clocks:
        """Return the clocks of a target's stream."""
        clocks = self._approaches[index].clocks
        assert clocks is not None  # it was prepared
        return clocks

    def has_begun(self, index: int) -> bool:
        """Return whether pieces of a target's answer have come."""
        clocks = self._approaches[index].clocks
        return clocks is not None and clocks.first_at is not None

    def first_sign(self, index: int) -> None:
        """Take note of the first piece of a stream: in doubt it shows that the target is well."""
        if self.holdings.shows_life(index):
            clocks = self.clocks(index)
            first = None if clocks.first_at is None else clocks.first_at - clocks.started
            self.holdings.give(index, Report(Effect.SUCCESS, first=first))

    def heard(self, index: int, event: StreamEvent) -> None:
        """Take note of an event of a stream whose answer the caller is given whole.

        Raises:
            Timeout: it came too late.
        """
        clocks = self.clocks(index)
        if clocks.is_over():
            raise clocks.timed_out()
        silent = clocks.first_at is None
        if clocks.hear(event) and silent:
            self.first_sign(index)

    def _options(self, index: int) -> Mapping[str, Mapping[str, Any]]:
        """The caller's options, those for a name of `understudy.toml` under the name that its provider knows."""
        options, name, own = (
            self.request.options,
            self.targets[index].provider,
            self.providers[index].get_provider_name(),
        )
        return {**options, own: options[name]} if name != own and name in options else options

    def accept(self, command: Call, request: Request, response: LLMResponse) -> LLMResponse:
        """Check an answer.

        Raises:
            Failure: it will not do; see `check_answer`.
        """
        provider = self.targets[command.index].provider
        try:
            return check_answer(response, request, provider, self.policy, self.validator, self.extensions)
        except Exception:
            if isinstance(response, LLMResponse) and response.usage is not None and not usage_fault(response.usage):
                self._refused = {**(self._refused or {}), command.index: response}  # it was paid for all the same
            raise

    def succeeded(self, command: Call, response: LLMResponse) -> Outcome:
        """Make the outcome of an answered attempt."""
        return Outcome(self.runtime.clock(), response=response, index=command.index)

    def failed(self, command: Call, error: BaseException, delivery: Delivery | None = None) -> Outcome:
        """Make the outcome of a failed attempt; `delivery` is that of a stream which had begun."""
        target, refused = self.targets[command.index], self._refused.pop(command.index, None) if self._refused else None
        if isinstance(error, OutOfTime):
            failure: Failure = self._timed_out(command, delivery)
        else:
            failure = own_failure(error)
        delivered = delivery is not None and delivery.began
        if delivery is not None and delivered:
            failure = interrupted(failure, "".join(delivery.pieces or ()))
            delivery.broke_off(failure)
            self.delivery, self._beside = delivery, None  # whoever takes it up must know what was given
        failure.provider = target.provider
        failure.model = failure.model or target.model
        return Outcome(
            self.runtime.clock(),
            failure=failure,
            response=refused,
            delivered=delivered,
            draw=self.runtime.random(),
            index=command.index,
        )

    def _timed_out(self, command: Call, delivery: Delivery | None) -> Timeout:
        if delivery is not None:
            return delivery.timed_out()
        clocks = self._approaches[command.index].clocks
        if clocks is not None and clocks.patience() <= HAIR:
            return clocks.timed_out()
        whole = "whole " if clocks is not None and clocks.first_at is not None else ""
        return Timeout(f"no {whole}answer within {command.timeout:.3g} s")

    def record(self, command: Call, outcome: Outcome, started: float, delivery: Delivery | None = None) -> Outcome:
        """Tell the health store and the listeners of an attempt; `delivery` is that of a stream which had begun.

        Returns:
            The outcome, with what the store knows of the target afterwards.
        """
        index, failure, seconds = command.index, outcome.failure, outcome.at - started
        target, approach = self.targets[index], self._approaches.get(index)
        report = report_of(failure, outcome.response, target.price_list or target.provider, self.admission.spends)
        if failure is None:
            report.end = seconds
            report.seconds = None if self.delivery is not None else seconds
        else:
            outcome.wasted = self._wasted(index, failure, seconds)
            self.reporter.attempt_failed(command, failure, seconds, outcome.wasted)
        clocks = None if approach is None else approach.clocks
        if clocks is not None and clocks.first_at is not None:
            report.first, report.gap = clocks.first_at - clocks.started, clocks.gap
        if isinstance(_cause(failure), Timeout):
            self._judge_lateness(index, report, failure, seconds, command)
        after = self.holdings.give(index, report)
        outcome.took = seconds
        if failure is None or after is None:
            return outcome
        outcome.failing, outcome.alive = after.failing, after.alive
        if not after.granted:
            outcome.free_in, outcome.breaker = after.free_in, after.state.value
        return outcome

    def _judge_lateness(
        self, index: int, report: Report, failure: Failure | None, seconds: float, command: Call
    ) -> None:
        """Say that an attempt was late; its caller's own hurry is not held against the target, nor what was working."""
        cause = _cause(failure)
        if cause is not None and cause.status is not None:
            return  # the vendor itself says so
        approach = self._approaches.get(index)
        allowed = seconds if approach is None else min(command.timeout, approach.times.first, approach.times.answer)
        working = approach is not None and approach.clocks is not None and approach.clocks.is_working()
        if working or self._is_hurry(approach, seconds, allowed):
            report.effect = Effect.NOTHING
        else:
            report.late = seconds

    def _is_hurry(self, approach: Approach | None, seconds: float, allowed: float) -> bool:
        """Return whether the caller allowed less time than ordinary answers take: that says nothing of the target."""
        usual = None if approach is None else approach.times.usual
        hurried = _times_of(self.policy) != _times_of(self.admission.policy) and usual is not None and allowed < usual
        return hurried or seconds < EVIDENCE

    def _wasted(self, index: int, failure: Failure, seconds: float) -> int:
        """Estimate the tokens that an attempt without an answer may have cost."""
        approach = self._approaches.get(index)
        if failure.usage is not None or approach is None or approach.began is None:
            return 0
        cause = _cause(failure)
        broken = isinstance(failure, StreamInterrupted) or (self.has_begun(index) and failure.scope is Scope.TRANSIENT)
        if not broken and (not isinstance(cause, Timeout) or cause.status is not None):
            return 0
        return self._waste_of(index, approach, seconds)

    def _waste_of(self, index: int, approach: Approach, seconds: float) -> int:
        written = None if approach.clocks is None else approach.clocks.characters
        room = self.admission.thinking_room(self.targets[index].position, self.request)
        return estimate_waste(self.request, seconds, written, room)

    def give_up(self, command: Cancel) -> Outcome:
        """Give back what a cancelled attempt holds; one that was late counts against its target."""
        index, approach, now = command.index, self._approaches.get(command.index), self.runtime.clock()
        began = None if approach is None else approach.began
        report = None
        if command.late and began is not None:
            seconds = now - began
            report = Report(Effect.FAILURE, late=seconds, failed=True)
            if self._is_hurry(approach, seconds, seconds):
                report = Report(Effect.NOTHING)
            clocks = None if approach is None else approach.clocks
            if clocks is not None and clocks.first_at is not None:
                report = Report(Effect.NOTHING, first=clocks.first_at - clocks.started)
        after = self.holdings.give(index, report)
        if report is not None and after is not None and not after.alive and report.late is not None:
            self._give_back_hedge()  # it answered nobody: who was asked beside it did not come on top
        return Outcome(now, index=index)

    def wasted_so_far(self, index: int) -> int:
        """Estimate the tokens that an attempt under way has cost."""
        approach = self._approaches.get(index)
        if approach is None or approach.began is None:
            return 0
        return self._waste_of(index, approach, self.runtime.clock() - approach.began)

    def leave_to_end(self, index: int) -> Outcome:
        """Let an attempt go on by itself."""
        self.holdings.leave_to_end(index)
        return Outcome(self.runtime.clock(), index=index)

    # ---- what comes before the first attempt ----

    def is_ready(self, index: int) -> bool:
        """Return whether a provider has imported what its first call needs."""
        return self.admission.is_ready(self.targets[index].position)

    def make_ready(self, index: int) -> None:
        """Have a provider import what its first call needs: that is not the vendor's silence."""
        self.admission.make_ready(self.targets[index].position)


def _cause(failure: Failure | None) -> Failure | None:
    """Return why a stream broke off, where a failure says that one did; else the failure."""
    if isinstance(failure, StreamInterrupted) and isinstance(failure.__cause__, Failure):
        return failure.__cause__
    return failure


def _times_of(policy: Policy) -> tuple[float | None, ...]:
    return policy.deadline, policy.attempt_timeout, policy.first_token_timeout, policy.idle_timeout
