"""What the drivers share: one call's cast, and what is done with a command or an answer besides waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from understudy.admission import Admission, refusal, report_of
from understudy.answers import Validator, check_answer, usage_fault
from understudy.commands import Admit, Call, Command, Enter, Outcome, Switch, Target, Verdict, Withdraw
from understudy.concluding import conclude
from understudy.copying import copy_with
from understudy.delivery import Delivery
from understudy.engine import Procedure, decide
from understudy.errors import (
    Failure,
    LimitReached,
    RequestRejected,
    Timeout,
    TooManyCalls,
)
from understudy.failing import OutOfTime, interrupted, lack_of, own_failure
from understudy.holdings import Holdings
from understudy.latencies import Latency
from understudy.messages import Request
from understudy.plain import PlainProvider
from understudy.policy import Policy
from understudy.provider import ChatProvider
from understudy.reporting import Reporter
from understudy.response import LLMResponse

if TYPE_CHECKING:
    from understudy.extensions import Extensions
    from understudy.ordering import Ordering


CLOSING = 1.0  # seconds that a stream gets to close, where its call has them


@dataclass(frozen=True, slots=True)
class Runtime:
    """The world outside: a clock, two ways to sleep, and chance. Tests bring their own."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    async_sleep: Callable[[float], Any]
    random: Callable[[], float]


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
        "_beside",
        "_call",
        "_refused",
        "admission",
        "asks_elsewhere",
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
        self.hosted = False  # whether the event loop is everybody's
        self.guests = False  # whether code of the caller's that prepares and checks would hold it up
        self.listeners = False  # whether listeners would
        self.delivery: Delivery | None = None  # what a stream's caller holds
        self._refused: dict[int, LLMResponse] | None = None  # answers that will not do
        self._beside: tuple[int, Delivery] | None = None  # the same, of a second attempt beside the first
        self.deadline: float | None = None
        self._call = 0

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
        self.reporter = Reporter(self.targets, self.extensions)
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
        if failure is None and command.hedge:
            failure = self._reason_not_to_hedge(index)
        if failure is not None:
            return self._skipped(command, Outcome(self.runtime.clock(), skip=failure))
        target, admission = self.targets[index], self.admission
        request = self.request if self.request.model is None else self._request_for(target)
        name = admission.name_of(target.position, request.model)
        claim = admission.claim(target.position, request, self._call, self._longest_attempt(), command.forced)
        lease = self.holdings.take(index, name, claim)
        p95 = self._latency(index).patience if self.policy.hedge_after == "p95" else None
        if lease.granted:
            # `value` is a property, written in Python, and this is done in every call.
            return Outcome(self.runtime.clock(), breaker=lease.state._value_, p95=p95)
        if command.hedge:
            admission.hedges.give_back()
        skip, now = refusal(lease, target.provider), self.runtime.clock()
        outcome = Outcome(now, skip=skip, free_in=lease.free_in, busy=lease.busy, breaker=lease.state.value)
        if lease.busy:
            outcome.draw = self.runtime.random()
        return self._skipped(command, outcome)

    def _request_for(self, target: Target) -> Request:
        """Return the request without a model that this target is not asked for."""
        if self.request.model is None or (target.position == 0 and target.model is None):
            return self.request
        return copy_with(self.request, model=None)

    def _longest_attempt(self) -> float:
        """Return the most seconds that an attempt may hold what it takes."""
        if self.deadline is None:
            return self.policy.attempt_timeout
        left = max(self.deadline - self.runtime.clock(), 0.0)
        # A stream may go on for longer than an attempt that is waited for as a whole.
        return left if self.delivery is not None else min(left, self.policy.attempt_timeout)

    def _skipped(self, command: Admit, outcome: Outcome) -> Outcome:
        self.holdings.give_back_retry()
        if not command.hedge and outcome.skip is not None:
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

    def _reason_not_to_hedge(self, index: int) -> Failure | None:
        target, limit = self.targets[index], self.policy.hedge_cost
        if limit is not None:
            cost = self.admission.estimate(target.position, self._request_for(target))
            if cost is None or cost > limit:
                return LimitReached(f"hedge_cost of {limit:g} dollars", provider=target.provider)
        if not self.admission.hedges.withdraw():
            return LimitReached(f"hedge_share of {self.policy.hedge_share:g}", provider=target.provider)
        return None

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
        timeout = command.timeout if delivery is None else self._longest_pause(command.timeout)
        request, options = self.request, self.request.options
        if options:
            options = self._options(command.index)
        if request.model != model or request.timeout != timeout or request.options is not options:
            request = copy_with(request, model=model, timeout=timeout, options=options)
        if command.adaptation is not None:
            request = copy_with(request, adaptation=command.adaptation)
        if delivery is not None:
            delivery.begin(target.label, command.timeout)
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

    def _longest_pause(self, timeout: float) -> float:
        """Return the seconds that a provider may let a stream wait; the drivers hold it to the shorter ones."""
        policy = self.policy
        first = min(policy.first_token_timeout, timeout)
        longest = max(first, min(policy.idle_timeout, policy.attempt_timeout))
        left = longest if self.deadline is None else self.deadline - self.runtime.clock()
        return max(min(longest, left), 0.001)  # a provider takes no timeout of 0

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
            too_long = Timeout(f"no answer within {command.timeout:g} s")
            failure: Failure = too_long if delivery is None else delivery.timed_out()
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

    def record(self, command: Call, outcome: Outcome, started: float, delivery: Delivery | None = None) -> Outcome:
        """Tell the health store and the listeners of an attempt; `delivery` is that of a stream which had begun.

        Returns:
            The outcome, with the state of the target's breaker.
        """
        index, failure, seconds = command.index, outcome.failure, outcome.at - started
        if failure is not None:
            self.reporter.attempt_failed(command, failure, seconds)
        target, timeout, priced = self.targets[index], command.timeout, self.admission.spends
        if delivery is not None:
            timeout = delivery.allowed
            if delivery.first_at is not None:
                seconds = delivery.first_at - started
        if isinstance(failure, Timeout) and self._is_hurry(index, timeout):
            timeout = 0.0
        report = report_of(failure, outcome.response, target.price_list or target.provider, seconds, timeout, priced)
        report.streamed = self.delivery is not None
        after = self.holdings.give(index, report)
        if failure is None or after is None or after.granted:
            return outcome
        return replace(outcome, free_in=after.free_in, breaker=after.state.value)

    def _is_hurry(self, index: int, timeout: float) -> bool:
        """Whether an attempt ran out of time that was less than the factory's own, and less than its target takes."""
        if _times_of(self.policy) == _times_of(self.admission.policy):
            return False
        p95 = self._latency(index).p95
        return p95 is not None and timeout < p95

    def _latency(self, index: int) -> Latency:
        target = self.targets[index]
        health = self.admission.look(target.position, self._request_for(target).model)
        return health.latency(streaming=self.delivery is not None)

    def give_up(self, index: int) -> Outcome:
        """Give back what a cancelled attempt holds."""
        self.holdings.give(index)
        return Outcome(self.runtime.clock(), index=index)


def _times_of(policy: Policy) -> tuple[float | None, ...]:
    return policy.deadline, policy.attempt_timeout, policy.first_token_timeout, policy.idle_timeout
