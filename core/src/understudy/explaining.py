"""What a policy's numbers mean, in words."""

from __future__ import annotations

from understudy.policy import Policy


def explain_policy(policy: Policy) -> str:
    """Say in words what will happen after each failure."""
    return repr(policy)
