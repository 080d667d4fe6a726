"""Many threads ask one factory at once: a call with time left and a healthy target does not fail."""

import threading

import pytest

from understudy import LLMFactory, LLMResponse, Policy
from understudy_sandbox import Sandbox, faults

THREADS, CALLS = 64, 3
POLICIES = {"patient": Policy(deadline=60, retry_delay=0.05), "eager": Policy.eager(deadline=60)}


def ask_from_threads(factory: LLMFactory) -> list[LLMResponse]:
    """Return what all threads were answered."""
    begin, answers = threading.Barrier(THREADS), []

    def ask() -> None:
        begin.wait(60)
        for _ in range(CALLS):
            answers.append(factory.generate_content("Hello", temperature=None))

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return answers


@pytest.mark.parametrize("name", POLICIES)
def test_every_call_of_64_threads_is_answered_while_one_vendor_is_well(name: str) -> None:
    with Sandbox() as sandbox:
        for fault in (None, faults.server_error(), faults.rate_limited(), faults.reset()):
            if fault is not None:
                sandbox.openai.always(fault)
            with LLMFactory("openai", ["claude"], settings=sandbox.environment(), policy=POLICIES[name]) as factory:
                answers = ask_from_threads(factory)
            failed = [answer.error for answer in answers if not answer.success]
            assert (len(answers), failed) == (THREADS * CALLS, []), fault
