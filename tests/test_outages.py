"""The patient policy and every fault, in all four ways of calling, through the real SDKs over sockets.

Gemini and Claude play both parts in turn. Requests are counted by the stand-ins: what the record says must be what
arrived, so no SDK retries behind our back.
"""

import inspect

from fault_matrix import MATRIX
from staging import STREAMS, casts, check_call, named, ways

from understudy.errors import CircuitOpen, ServerError
from understudy.testing import no_waiting
from understudy_sandbox import faults


def test_the_matrix_has_every_fault_before_and_after_the_first_token():
    begun = {row.fault.name for row in MATRIX if row.fault.options.get("after")}
    assert {row.fault.name for row in MATRIX} == set(faults.ALL)
    assert begun == {name for name, make in faults.ALL.items() if "after" in inspect.signature(make).parameters}
    assert begun <= {row.fault.name for row in MATRIX if not row.fault.options.get("after")}


@casts
@ways
@named(MATRIX)
def test_every_fault(stage, cast, how, row):
    outcome = row.outcome(cast[0], how in STREAMS)
    call, waits = stage.meet(cast, "patient", how, row.fault, begun=outcome.begun, max_retries=1)
    check_call(stage, call, outcome)
    of_primary = [attempt for attempt in call.attempts if attempt.target == cast[0]]
    assert [type(attempt.failure) for attempt in of_primary[1:]] == [outcome.failure] * len(outcome.waits)
    assert waits == [attempt.wait for attempt in of_primary[1:]] == list(outcome.waits)
    assert len(of_primary) == 1 + len(outcome.waits)


@casts
@ways
def test_a_hint_beyond_the_longest_wait_means_the_next_provider(stage, cast, how):
    call, waits = stage.meet(cast, "patient", how, faults.status(503, "not now", {"retry-after": "61"}))
    assert (call.response.provider_name, stage.counts, waits) == (cast[1], [1, 1], [])
    assert call.attempts[0].failure.retry_after == 61
    assert call.attempts[0].decision == "no retry: the vendor asks for 61 s, more than max_delay"


@casts
@ways
def test_everybody_down(stage, cast, how):
    call, waits = stage.meet(cast, "patient", how, faults.quota_exhausted(), faults.black_hole(), max_retries=1)
    assert call.response.error == f"All LLM providers failed: [{cast[0]}: quota exceeded, {cast[1]}: timeout]"
    assert (stage.counts, waits) == ([1, 2], [5])


@casts
@ways
def test_twenty_calls_into_an_outage(stage, cast, how):
    """The circuit opens in the fifth call: four make all their attempts, and one its first."""
    stage.begin(cast, "patient", faults.server_error())
    with no_waiting() as waits:
        responses = [stage.ask(how) for _ in range(20)]
    assert {response.provider_name for response in responses} == {cast[1]}
    assert stage.counts == [4 * 6 + 1, 20]
    assert waits == [5, 10, 20, 40, 60] * 4
    firsts = [type(response.attempts[0].failure) for response in responses]
    assert firsts == [ServerError] * 5 + [CircuitOpen] * 15
