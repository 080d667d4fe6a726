"""Which targets are on the route, in which order: names become targets with their providers; strategies.

Enter by `route.read_route`, `route.Route` and `order.Ordering`. May import health, discovery and the nouns.
"""

from typing import TYPE_CHECKING

from understudy.contents import find_names

if TYPE_CHECKING:
    from understudy.routing.strategies import weighted
    from understudy.target import Candidate, Strategy

__all__ = [
    "Candidate",
    "Strategy",
    "weighted",
]

_CONTENTS = {
    "routing.strategies": "weighted",
    "target": "Candidate Strategy",
}
__getattr__ = find_names(__name__, _CONTENTS)


def __dir__() -> list[str]:
    return __all__
