"""Conformance classes for all providers that break a rule; they leave out rules that take long and find nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import broken_answers
import broken_conduct
from parrot import ANSWER, COSTS, ERRORS, REPLIES, STREAM, Parrot
from table import BROKEN

from understudy import Settings, hookimpl
from understudy_toolkit.conformance import HTTPFaults, ProviderContract, asking, failure_rules, life_rules

SECRET = "not-a-real-key"
THIN = ("server_error", "cut")
TIMED = (
    "test_the_timeout_is_kept",
    "test_the_timeout_bounds_a_whole_answer_that_trickles",
    "test_nothing_is_left_behind",
    "test_a_stream_can_be_left_early",
    "test_a_stream_comes_piece_by_piece",
    "test_async_calls_leave_the_event_loop_free",
    "test_streams_leave_the_event_loop_free",
    "test_a_caller_may_take_its_time_over_a_stream",
)
PROCESS = ("test_its_sdk_is_not_loaded_on_the_event_loop", "test_a_program_that_closes_nothing_ends_in_silence")
asking.PATIENCE = 1.5  # seconds: what is broken stays so, and need not be waited for
failure_rules.ATTEMPTS = 2  # what is too patient is so each time
life_rules.TIMEOUTS = (0.3,)  # what is impatient is so each time


class Case(HTTPFaults):
    settings = {"PARROT_API_KEY": SECRET}
    key = "PARROT_API_KEY"
    url_setting = "PARROT_BASE_URL"
    answer = ANSWER
    streamed_answer = STREAM
    replies = REPLIES
    errors = ERRORS
    reports_usage = True
    costs = COSTS
    model_setting = "PARROT_MODEL"
    uses_proxies = True
    has_other_names = True
    content_types = ("text/html",)
    read_by_sdk = {"PARROT_ADMIN_KEY": "{stolen}"}
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


def _but(*tests: str) -> tuple[str, ...]:
    return tuple(test for test in TIMED if test not in tests)


_MORE: dict[str, dict[str, Any]] = {
    "Heavy": {"sdk": ("colorsys",), "without": (*TIMED, *PROCESS[1:])},
    "Impulsive": {"sdk": ("turtledemo",), "without": (*TIMED, *PROCESS[1:])},
    "Littering": {"without": ("test_making_it_loads_no_sdk", PROCESS[0])},
    "Threaded": {"without": _but("test_nothing_is_left_behind")},
    "Hoarding": {"without": _but("test_a_stream_comes_piece_by_piece")},
    "Unstoppable": {"without": _but("test_a_stream_can_be_left_early")},
    "Stubborn": {"without": _but("test_async_calls_leave_the_event_loop_free")},
    "Drowsy": {"without": _but("test_streams_leave_the_event_loop_free")},
    "Hurrying": {"without": _but("test_a_caller_may_take_its_time_over_a_stream"), "ways": ("stream",)},
    "Hopping": {"keeps_connections": True},
    "Patient": {"without": TIMED[2:], "kinds": ("black_hole",)},
    "Raising": {"without": TIMED[2:], "kinds": ("stall",), "ways": ("stream", "agenerate")},
    "Endlessly": {"without": TIMED[1:], "kinds": ("black_hole",), "ways": ("stream",), "time_limit": 3.0},
    "Raw": {"kinds": ("malformed",)},
    "Bottomless": {"kinds": ("too_deep",)},
    "Sweeping": {"kinds": ("rate_limited", "server_error")},
    "Wandering": {"kinds": ("redirected", "cut")},
    "Contented": {"kinds": ("stream_end",), "ways": ("stream",)},
    "Absent": {"kinds": ("stream_end",)},
    "Lingering": {"kinds": ("stall",)},
    "Overriding": {"test_usage_is_counted": _own_test},
    "Gathering": {"ways": ("stream",)},
}
for _name in BROKEN:
    case(getattr(broken_answers, _name, None) or getattr(broken_conduct, _name), **_MORE.get(_name, {}))
