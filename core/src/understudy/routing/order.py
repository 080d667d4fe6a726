"""The order in which one call asks its targets, where the policy's routing is not the list's own order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from understudy.health.admission import Admission
from understudy.messages import Request
from understudy.policy import Policy
from understudy.provider import Route
from understudy.target import Candidate, Target


class Ordering:
    """Applies a routing strategy to one factory's targets.

    Args:
        route: in its own order.
        admission: what is known of the targets' health.
        draw: gives numbers from 0 to below 1.
    """

    __slots__ = ("_admission", "_draw", "_route")

    def __init__(
        self,
        route: Route,
        admission: Admission,
        draw: Callable[[], float],
    ) -> None:
        self._route = route
        self._admission = admission
        self._draw = draw

    def check(self, policy: Policy) -> None:
        """Reject a strategy that names targets which are not on the route.

        Raises:
            ValueError: it does.
        """
        if policy.routing != "ordered":
            from understudy.routing.strategies import check_names, find_strategy

            known = {name for target in self._route.targets for name in (target.label, target.provider)}
            check_names(find_strategy(policy.routing), known)

    def order(self, policy: Policy, request: Request, *, streaming: bool = False) -> Route:
        """Return the route in the order for this request.

        Args:
            policy: whose routing is used.
            request: what is asked.
            streaming: whether the time to the first token counts, and not that to the whole answer.

        Raises:
            ValueError: the strategy returned something that is not an order of the targets.
        """
        from understudy.routing.strategies import check_order, find_strategy

        strategy = find_strategy(policy.routing)
        candidates = [self._candidate(target, request, streaming) for target in self._route.targets]
        order = check_order(strategy, candidates, strategy(candidates, self._draw))
        return self._route.in_order(order)

    def _candidate(self, target: Target, request: Request, streaming: bool) -> Candidate:
        asked = replace(request, model=target.model or (request.model if target.position == 0 else None))
        model = asked.model or self._route.providers[target.position].default_model
        health = self._admission.look(target.position, model)

        def price() -> float | None:
            return self._admission.estimate(target.position, asked)

        return Candidate(
            target.position,
            target.label,
            target.provider,
            model,
            health.latency(streaming=streaming).seconds,
            price,
            ready=not health.free_in,
            failing=health.failing,
        )
