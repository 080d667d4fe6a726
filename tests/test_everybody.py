"""Every other provider as the primary, and the main faults, four ways and by both presets: real SDKs over sockets.

What Gemini and Claude do on every fault is in test_outages.py and test_eager_outages.py.
"""

import pytest
from fault_matrix import MATRIX
from staging import STREAMS, check_call, check_quick_retry, named, ways

from understudy_sandbox import faults

MAIN = [
    faults.rate_limited(retry_after=30),
    faults.overloaded(),
    faults.authentication_failed(),
    faults.invalid_request(),
    faults.empty(),
    faults.malformed_json(),
    faults.reset(),
    faults.stall(after=2),
    faults.cut(after=2),
    faults.stream_end(after=2),
]
ROWS = [row for row in MATRIX if row.fault in MAIN]


@pytest.mark.parametrize("name", ["openai", "cohere", "ollama", "gemini-legacy", "vertex"])
@ways
@pytest.mark.parametrize("preset", ["patient", "eager"])
@named(ROWS)
def test_another_takes_the_part(stage, name, how, preset, row):
    if name == "ollama":
        stage.warm_up("sync", name)  # its model is in memory from then on: a short answer is not asked for as a stream
    outcome = row.outcome(name, how in STREAMS)
    call, waits = stage.meet([name, "claude"], preset, how, row.fault, begun=outcome.begun, max_retries=1)
    check_call(stage, call, outcome)
    if preset == "patient":
        assert waits == list(outcome.waits)
    else:
        check_quick_retry(call, outcome, waits)
    assert stage.counts[0] == 1 + len(waits)
