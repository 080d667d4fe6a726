"""Conformance classes for all providers that break a rule; they leave out rules that take long and find nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import broken_answers
import broken_conduct
from parrot import ANSWER, ERRORS, REPLIES, STREAM, Parrot
from table import BROKEN

from understudy import Settings, hookimpl
from understudy_toolkit.conformance import HTTPFaults, ProviderContract, asking, failure_rules

SECRET = "not-a-real-key"
THIN = ("server_error", "cut")
TIMED = (
    "test_the_timeout_is_kept",
    "test_the_timeout_bounds_a_whole_answer_that_trickles",
    "test_making_it_loads_no_sdk",
    "test_nothing_is_left_behind",
    "test_a_stream_can_be_left_early",
    "test_a_stream_comes_piece_by_piece",
    "test_async_calls_leave_the_event_loop_free",
)
PATIENCE = 0.5
asking.PATIENCE = failure_rules.GRACE = PATIENCE  # seconds: this machine alone is asked


class Case(HTTPFaults):
    settings = {"PARROT_API_KEY": SECRET}
    key = "PARROT_API_KEY"
    url_setting = "PARROT_BASE_URL"
    answer = ANSWER
    streamed_answer = STREAM
    replies = REPLIES
    errors = ERRORS
    reports_usage = True
    ways: ClassVar[tuple[str, ...]] = ("generate",)
    kinds: ClassVar[tuple[str, ...]] = THIN
    without: ClassVar[tuple[str, ...]] = TIMED


class Plugin:
    """What an entry point names."""

    def __init__(self, kind: type[Parrot]) -> None:
        self.kind = kind

    @hookimpl
    def understudy_provider(self, settings: Settings) -> Parrot:
        return self.kind(settings)


def case(kind: type[Parrot], **attributes: Any) -> None:
    """Make the conformance class and the plugin of a broken provider."""
    kind.name = kind.__name__.lower()
    globals()[f"{kind.name}_plugin"] = Plugin(kind)
    name = f"Test{kind.__name__}"
    members = {"name": kind.name, "__module__": __name__, "breaks": BROKEN[kind.__name__][0], **attributes}
    globals()[name] = type(name, (Case, ProviderContract), members)


def _own_test(self: object) -> None:
    """Stands in the place of a rule, and says not why."""


_MORE: dict[str, dict[str, Any]] = {
    "Heavy": {"sdk": ("colorsys",), "without": ()},
    "Threaded": {"without": TIMED[:3]},
    "Hoarding": {"without": TIMED[:5]},
    "Unstoppable": {"without": TIMED[:4]},
    "Stubborn": {"without": TIMED[:5]},
    "Patient": {"without": TIMED[2:], "kinds": ("black_hole",)},
    "Raw": {"kinds": ("malformed",)},
    "Sweeping": {"kinds": ("rate_limited", "server_error")},
    "Wandering": {"kinds": ("redirected", "cut")},
    "Contented": {"kinds": ("stream_end",), "ways": ("stream",)},
    "Absent": {"kinds": ("stream_end",)},
    "Lingering": {"kinds": ("stall",)},
    "Overriding": {"test_usage_is_counted": _own_test},
}
for _name in BROKEN:
    case(getattr(broken_answers, _name, None) or getattr(broken_conduct, _name), **_MORE.get(_name, {}))
