"""Where each invariant is checked: as path::function, from the root of the repository."""

from __future__ import annotations

SIMULATION = "tests/simulation"
ONE_CALL, SHARED, TARGETS, LIVENESS = (
    f"{SIMULATION}/{name}.py" for name in ("invariants", "invariants_shared", "invariants_targets", "liveness")
)
OTHERS = f"{SIMULATION}/test_invariants.py"
VENDORS = ("claude", "cohere", "ollama", "openai")
RECORDED = "test_a_recorded_reply_gives_its_text_calls_usage_or_typed_failure"
HERD = "test_a_herd_when_its_time_is_over_sends_one_probe_that_nobody_waits_for"
FUZZED = "test_no_reply_brings_anything_but_an_answer_or_our_failures"

PLACES: dict[str, tuple[str, ...]] = {
    "I1": (f"{ONE_CALL}::check_i01", "tests/test_outages.py::test_every_fault"),
    "I2": (f"{ONE_CALL}::check_i02",),
    "I3": (f"{ONE_CALL}::check_i03", f"{ONE_CALL}::check_quick", f"{ONE_CALL}::check_hints"),
    "I4": (
        f"{ONE_CALL}::check_i04",
        f"{LIVENESS}::check_times",
        f"{LIVENESS}::check_patience",
        "tests/test_deadlines_on_sockets.py::test_a_call_ends_at_its_deadline",
    ),
    "I5": (f"{ONE_CALL}::check_i05",),
    "I6": (f"{ONE_CALL}::check_i06", f"{ONE_CALL}::check_switch_first"),
    "I7": (f"{ONE_CALL}::check_i07", f"{ONE_CALL}::check_errors"),
    "I8": (f"{ONE_CALL}::check_i08",),
    "I9": (f"{ONE_CALL}::check_i09",),
    "I10": (f"{SHARED}::check_i10", f"{SHARED}::check_hedges"),
    "I11": (
        f"{SHARED}::check_i11",
        f"{SHARED}::check_beside",
        f"tests/test_herd_on_sockets.py::{HERD}",
    ),
    "I12": (f"{OTHERS}::test_i12_jumps_of_the_wall_clock_change_nothing",),
    "I13": (
        f"{SHARED}::check_i13",
        f"{TARGETS}::check_opening",
        f"{TARGETS}::check_limits",
        f"{TARGETS}::check_refusals",
    ),
    "I14": (f"{SIMULATION}/replay.py::check_i14", f"{OTHERS}::test_i14_calls_in_threads_decide_as_each_would_alone"),
    "I15": (
        f"{ONE_CALL}::check_i15",
        "tests/test_cancelled_on_the_socket.py::test_an_answer_that_does_not_end",
    ),
    "I16": (
        f"{ONE_CALL}::check_i16",
        "core/tests/execution/test_delivery.py::test_pieces_joined_are_the_text_for_every_chunking",
    ),
    "I17": (f"{SHARED}::check_i17",),
    "I18": (f"{SHARED}::check_i18", f"{SHARED}::check_generations"),
    "I19": (
        *(f"plugins/understudy-{one}/tests/test_{one}_recordings.py::{RECORDED}" for one in VENDORS),
        *(f"plugins/understudy-{one}/tests/test_{one}_reply.py::test_other_shapes_are_malformed" for one in VENDORS),
        "plugins/understudy-gemini/tests/test_gemini_recordings.py::test_a_failure",
        f"plugins/understudy-gemini-wire/tests/test_gemini_wire_reply.py::{FUZZED}",
    ),
    "I20": (
        f"{SHARED}::check_i20",
        "core/tests/health/test_health_store_hook.py::test_a_slow_one_holds_a_call_up_for_less_than_50_ms",
    ),
    "I21": (f"{SIMULATION}/test_simulation.py::test_the_command_that_a_failure_names_plays_the_same_world_again",),
    "I22": (f"{LIVENESS}::check_i22",),
    "I23": (f"{OTHERS}::test_i23_no_crowd_comes_back_when_an_outage_is_over",),
    "I24": (f"{LIVENESS}::check_i24",),
    "I25": (f"{LIVENESS}::check_i25",),
}
