"""What would happen, found by dry runs of the engine and described in words: plans and the text of a policy.

Enter by `plan.make_plan` and `policy_text.explain`. Only the factory and `Policy.explain` import it, when they are
asked to. May import every room but the factory.
"""

from typing import TYPE_CHECKING

from understudy.contents import find_names

if TYPE_CHECKING:
    from understudy.explain.plan import Plan, PlannedTarget

__all__ = [
    "Plan",
    "PlannedTarget",
]

_CONTENTS = {
    "explain.plan": "Plan PlannedTarget",
}
__getattr__ = find_names(__name__, _CONTENTS)


def __dir__() -> list[str]:
    return __all__
