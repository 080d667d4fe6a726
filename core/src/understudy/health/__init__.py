"""What calls learn about targets: breakers, quotas, rate windows, latencies, budgets.

Enter by `leases.CallLeases` during a call; `admission` serves the factory. A store keeps one `TargetRecord` for each
target, which is pure: no clock, no lock, no randomness. May import the engine's values and the nouns.
"""

from typing import TYPE_CHECKING

from understudy.contents import find_names

if TYPE_CHECKING:
    from understudy.errors import Effect
    from understudy.health.in_memory import InMemoryHealthStore
    from understudy.health.latency import Latency
    from understudy.health.record import TargetRecord
    from understudy.health.store import Claim, HealthStore, Lease, Report, TargetHealth
    from understudy.target import BreakerState

__all__ = [
    "BreakerState",
    "Claim",
    "Effect",
    "HealthStore",
    "InMemoryHealthStore",
    "Latency",
    "Lease",
    "Report",
    "TargetHealth",
    "TargetRecord",
]

_CONTENTS = {
    "errors": "Effect",
    "health.in_memory": "InMemoryHealthStore",
    "health.latency": "Latency",
    "health.record": "TargetRecord",
    "health.store": "Claim HealthStore Lease Report TargetHealth",
    "target": "BreakerState",
}
__getattr__ = find_names(__name__, _CONTENTS)


def __dir__() -> list[str]:
    return __all__
