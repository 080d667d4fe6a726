"""Processes that fork beside a call, a stream or a client that is being made (`nox -s processes`)."""

import pytest
from forking import check_each_for_itself, forks, run

pytestmark = forks
LANES = pytest.mark.parametrize("lane", ["sdk", "http"])


@LANES
@pytest.mark.parametrize("name", ["openai", "claude", "gemini", "cohere", "ollama"])
@pytest.mark.parametrize(("policy", "calls"), [("plain", "sync"), ("timed", "sync"), ("plain", "async")])
def test_each_process_has_connections_of_its_own(name, lane, policy, calls, sandbox):
    check_each_for_itself(sandbox, name, lane, policy, calls)


@LANES
@pytest.mark.parametrize("policy", ["plain", "timed"])
def test_a_stream_under_way_is_the_parents_alone(lane, policy, sandbox):
    program = """
words = "one two three four five six seven eight nine ten " * 20
with LLMFactory(name, [], settings=settings, policy=policy, extensions=[]) as factory:
    events = factory.stream_content(words, temperature=None)
    begun = [next(events).text]

    def child():
        global events
        got = []
        try:
            for event in events:
                got.append(event)
        except (Failure, RuntimeError) as error:
            pass
        left = [event for event in got if isinstance(event, TextDelta)]
        assert len("".join(event.text for event in left)) < len(words), "the child was given the parent's stream"
        del events
        ask(factory, "in the child")

    fork(child)
    rest = [event.text for event in events if isinstance(event, TextDelta)]
    assert words.strip() in "".join(begun + rest), begun + rest
"""
    run(program, sandbox, "openai", lane, policy)


@LANES
def test_a_child_does_not_wait_for_what_another_thread_of_its_parent_was_making(lane, sandbox):
    run(
        """
factory = LLMFactory(name, [], settings=settings, policy=policy, extensions=[])
[(_, provider)] = factory.route
lane = provider._lane
clients = next(vars(lane)[known] for known in vars(lane) if type(vars(lane)[known]).__name__ == "Clients")
held, over = threading.Event(), threading.Event()

def hold():
    with clients._opening, clients._lock:
        held.set()
        over.wait(60)

threading.Thread(target=hold, daemon=True).start()
assert held.wait(60)
fork(lambda: ask(factory, "in the child"))
fork(lambda: asyncio.run(ask_on_a_loop(factory, "in the child")))
over.set()
ask(factory, "after")
""",
        sandbox,
        "openai",
        lane,
    )
