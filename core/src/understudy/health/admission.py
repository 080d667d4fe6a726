"""Connects one factory's calls to the HealthStore: what a call claims of a target, and what its outcome reports."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from random import SystemRandom
from typing import Any

from understudy.engine.timeouts import Learned, Times, times_for
from understudy.errors import (
    CircuitOpen,
    CoolingDown,
    Effect,
    Failure,
    LimitReached,
    NeedsAttention,
    QuotaFailure,
    Scope,
    StreamInterrupted,
    TargetResting,
)
from understudy.health.budgets import Bulkhead, HedgeBudget, PassedOver, RetryBudget
from understudy.health.store import Claim, HealthStore, Lease, Report, TargetHealth
from understudy.limits import Limits, find_limits
from understudy.messages import Request
from understudy.policy import Policy
from understudy.provider import ChatProvider, Pace, Route
from understudy.response import LLMResponse
from understudy.target import BreakerState

logger = logging.getLogger("understudy")

EVIDENCE = 1.0  # seconds: a shorter timeout says nothing about the target
MOST_TOLD = 256  # warnings that are remembered
LEASE_MARGIN = 1.0  # seconds on top of an attempt's own time, for what comes before and after it

_numbers: Iterator[int]  # of calls
_FAILED = (Effect.FAILURE, Effect.RATE_LIMITED, Effect.EXHAUSTED)


class Admission:
    """What one factory keeps for all its calls.

    Args:
        policy: the factory's numbers; a call's own numbers do not affect what is shared.
        route: in its own order.
        limits: the caller's own limits, by route label or provider name.
        store: where health is kept.
        clock: gives seconds, monotonic.
    """

    __slots__ = (
        "_limits",
        "_models",
        "_names",
        "_price_lists",
        "_providers",
        "_ready",
        "_times",
        "_told",
        "_unpriced",
        "_usual",
        "bulkhead",
        "hedges",
        "latest",
        "passed_over",
        "policy",
        "retries",
        "spends",
        "store",
        "unwell",
    )

    def __init__(
        self,
        policy: Policy,
        route: Route,
        limits: Mapping[str, Limits],
        store: HealthStore,
        clock: Callable[[], float],
    ) -> None:
        self.policy = policy
        self.store = store
        self._providers = route.providers
        self._models = [target.model or provider.default_model or "" for target, provider in route]
        self._names = _names_of(route)
        self._usual = [
            f"{before}{model}{after}" for (before, after), model in zip(self._names, self._models, strict=True)
        ]
        self._price_lists = [target.price_list or target.provider for target in route.targets]
        self._unpriced: set[tuple[int, str]] = set()  # already warned about
        self._told: set[tuple[str, str, float]] = set()  # likewise
        # A provider with nothing to import before its first call is ready at once.
        self._ready = [type(provider).warm_up is ChatProvider.warm_up for provider in route.providers]
        self._times: list[tuple[tuple[Any, ...], Times] | None] = [None] * len(route.targets)
        self.passed_over = PassedOver(clock)
        self.latest: str | None = None  # who gave the latest answer
        self.unwell: set[str] = set()  # targets whose breakers were last seen in another state than closed
        self._limits = [find_limits(limits, target.label, target.provider) for target in route.targets]
        self.spends = any(limit is not None and limit.spend_per_day is not None for limit in self._limits)
        if self.spends or policy.hedge_cost is not None or policy.routing == "cheapest":
            from understudy.extras import pricing

            pricing.prepare()  # now, because it takes a second
        self.retries = RetryBudget(policy.retry_budget, policy.retry_reserve, clock)
        self.hedges = HedgeBudget(policy.hedge_share)
        self.bulkhead = None if policy.max_concurrent_calls is None else Bulkhead(policy.max_concurrent_calls)

    def begin(self) -> int:
        """Return a number for a call."""
        return next(_numbers)

    def name_of(self, position: int, model: str | None = None) -> str:
        """Return the store's name for a target: its provider, model and credential."""
        if model is None:
            return self._usual[position]
        before, after = self._names[position]
        return f"{before}{model}{after}"

    def claim(self, position: int, request: Request, call: int, lease: float, forced: bool) -> Claim:
        """Return what a call claims of a target: `lease` is the most seconds that the attempt may take."""
        limits = self._limits[position]
        if limits is None:
            return Claim(call, self.policy, lease + LEASE_MARGIN, forced=forced)
        cost = 0.0
        if limits.spend_per_day is not None:
            cost = self._reserve_for(position, request)
        from understudy.extras import pricing

        tokens = pricing.estimate_tokens(request, self.thinking_room(position, request))
        return Claim(call, self.policy, lease + LEASE_MARGIN, limits, tokens, cost, forced)

    def times(
        self,
        position: int,
        policy: Policy,
        request: Request,
        pace: Pace,
        learned: Learned,
        streamed: bool,
        whole: bool,
    ) -> Times:
        """Return how long to wait for an attempt on a target; see `times_for`. The latest answer is cached."""
        asked = policy, request.max_tokens, pace, learned, streamed, whole
        known = self._times[position]
        if known is None or known[0] != asked:
            known = asked, times_for(policy, request, pace, learned, streamed=streamed, whole=whole)
            self._times[position] = known
        return known[1]

    def estimate(self, position: int, request: Request) -> float | None:
        """Estimate what a request would cost at a target, in US dollars; None where its prices are not known."""
        from understudy.extras import pricing

        model, room = request.model or self._models[position], self.thinking_room(position, request)
        return pricing.estimate(self._price_lists[position], model, request, room)

    def thinking_room(self, position: int, request: Request) -> int:
        """Return how many tokens a target may think besides those of the answer."""
        try:
            return self._providers[position].thinking_room(request)
        except Exception:  # whatever it is, the attempt itself will report it
            return 0

    def _reserve_for(self, position: int, request: Request) -> float:
        cost = self.estimate(position, request)
        model = request.model or self._models[position]
        if cost is None and (position, model) not in self._unpriced:
            self._unpriced.add((position, model))
            price_list = self._price_lists[position]
            logger.warning("%s: no price is known for %r, so spend_per_day does not count it", price_list, model)
        return cost or 0.0

    def note_state(self, name: str, lease: Lease) -> None:
        """Note a target's breaker state: while one is not closed, sync calls run where two can be asked at once."""
        if lease.state is BreakerState.CLOSED:
            self.unwell.discard(name)
        elif lease.state is not BreakerState.COOLING or lease.refused:
            self.unwell.add(name)

    def is_ready(self, position: int) -> bool:
        """Return whether a target's provider has imported what its first call needs."""
        return self._ready[position]

    def make_ready(self, position: int) -> None:
        """Let a target's provider import what its first call needs; the attempt will report whatever goes wrong."""
        with suppress(Exception):
            self._providers[position].warm_up()
        self._ready[position] = True

    def warn_once(self, label: str, name: str, seconds: float, usual: float, *, streaming: bool) -> None:
        """Warn about a time limit that the caller set and that ordinary answers exceed."""
        key = label, name, seconds
        if key not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(key)
            what = "first pieces" if streaming else "answers"
            words = "%s: a %s of %g s is less than 95 of 100 %s took (%.3g s): many calls will be cut"
            logger.warning(words, label, name, seconds, what, usual)

    def look(self, position: int, model: str | None = None) -> TargetHealth:
        """Return how healthy a target is."""
        try:
            health = self.store.look(self.name_of(position, model), self.policy)
            if type(health) is TargetHealth:
                return health
            raise TypeError(f"expected look to return a TargetHealth, found {health!r}")
        except Exception:
            logger.exception("the health store failed when asked about the health of %s", self.name_of(position))
            return TargetHealth()


def _names_of(route: Route) -> list[tuple[str, str]]:
    """Return what precedes and follows the model in the store's name for each target.

    Two providers with one name and no account are still two, and distinguished by their places.
    """
    names = []
    accounts = [(target.provider, provider.credential) for target, provider in route]
    for account, provider in zip(accounts, route.providers, strict=True):
        twins = [id(other) for other, its in zip(route.providers, accounts, strict=True) if its == account]
        place = f"#{twins.index(id(provider))}" if len(set(twins)) > 1 else ""
        names.append((f"{account[0]}{place}/", f"/{account[1]}"))
    return names


def refusal(lease: Lease, provider: str) -> TargetResting | None:
    """Return why a target may not be asked, as a failure; None if it may."""
    if lease.granted:
        return None
    kinds = {"breaker": CircuitOpen, "cooldown": CoolingDown, "refusal": NeedsAttention}
    kind = kinds.get(lease.reason, LimitReached)
    words = lease.reason if kind is LimitReached else lease.refused if kind is NeedsAttention else ""
    if kind is CircuitOpen and lease.state is BreakerState.HALF_OPEN:
        words = "its probe is under way"
    return kind(words, provider=provider, retry_after=lease.free_in)


def effect_of(failure: Failure | None) -> Effect:
    """Return what an attempt's outcome says about its target; for a stream that broke off, the reason counts.

    Args:
        failure: how it failed; None for an answer.
    """
    if failure is None:
        return Effect.SUCCESS
    if isinstance(failure, StreamInterrupted) and isinstance(failure.__cause__, Failure):
        failure = failure.__cause__
    return failure.effect


def report_of(failure: Failure | None, response: LLMResponse | None, price_list: str, priced: bool) -> Report:
    """Return the report on an attempt for the store, without its times.

    Args:
        failure: how it failed; None for an answer.
        response: the answer, even if it was rejected.
        price_list: the name under which the prices are listed.
        priced: whether a limit needs to know what it cost.
    """
    tokens: float | None = None
    cost: float | None = None
    source = failure if response is None else response
    if source is not None and source.usage is not None:
        tokens = source.usage.total_tokens
        if priced:
            from understudy.extras.pricing import price_of  # loads a table

            cost = price_of(price_list, source.model, source.usage)
    if failure is None:
        return Report(Effect.SUCCESS, tokens=tokens, cost=cost)
    if response is None and failure.usage is None and _is_free(failure):
        tokens = cost = 0.0
    effect = effect_of(failure)
    report = Report(effect, hint=failure.retry_after, tokens=tokens, cost=cost)
    report.sent = failure.sent or failure.status is not None  # with a status it is a vendor's reply
    report.failed = effect in _FAILED or (failure.scope is Scope.TARGET and not failure.concerns_request)
    if effect is Effect.REFUSED:
        report.why = failure.summary
    return report


def _is_free(failure: Failure) -> bool:
    """Return whether the vendor refused the request instead of answering it: that is never charged.

    A reply that came too late, broke off or was cancelled may have been paid for; a rejected one has been.
    """
    refused = failure.status is not None and failure.status >= 400
    return not isinstance(failure, StreamInterrupted) and (refused or isinstance(failure, QuotaFailure))


def _count_from_elsewhere() -> None:
    """Number this process's calls differently from those of every other process that shares a store, forks included."""
    global _numbers
    _numbers = count(SystemRandom().getrandbits(62))


_count_from_elsewhere()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_from_elsewhere)
