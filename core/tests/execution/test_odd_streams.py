"""Pieces of a stream that are none, and tools that no vendor could be told of."""

import pytest
from timed import STREAMS, Player, Stage, answer, record

from understudy import Finish, Policy, TextDelta, ThinkingDelta, Tool, Usage
from understudy.errors import MalformedResponse


@pytest.mark.parametrize("how", STREAMS)
@pytest.mark.parametrize("piece", [TextDelta(None), ThinkingDelta(7), {"text": "no event"}, "a text"])
def test_what_is_no_piece_of_a_stream_is_the_targets_fault_and_no_outage(how, piece):
    class Odd(Player):
        def _play(self, line):
            yield piece

    stage = Stage(Odd("a"), Player("b"), policy=Policy())
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert isinstance(response.attempts[0].failure, MalformedResponse)
    assert stage.factory.get_provider_status()["primary"]["health"]["failures"] == 0


@pytest.mark.parametrize("how", ["sync", "async", *STREAMS])
def test_a_refused_answer_with_an_odd_usage_is_only_refused(how):
    bad = answer("bad", "a", usage=Usage(input_tokens=None))
    stage = Stage(Player("a", bad), Player("b"), policy=Policy(stream_recovery="buffer"))
    response = stage.ask(how, validator=lambda response: response.content != "bad")
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert response.attempts[0].usage is None


@pytest.mark.parametrize("how", STREAMS)
def test_a_stream_that_cannot_be_closed_is_no_fault(how, caplog):
    class Plain:
        """Has no more than the protocol of an iterator asks for."""

        def __init__(self, events):
            self.events = events

        def __iter__(self):
            return self

        __aiter__ = __iter__

        def __next__(self):
            return next(self.events)

        async def __anext__(self):
            return next(self.events)

    class Lister(Player):
        def stream(self, request):
            return Plain(iter([TextDelta("fine"), Finish(answer("fine", "a"))]))

        astream = stream

    assert Stage(Lister("a")).ask(how).content == "fine"
    assert caplog.messages == []


@pytest.mark.parametrize("parameters", [{"type": object}, {"default": {1, 2}}])
def test_a_tool_whose_parameters_are_no_json_is_refused(parameters):
    with pytest.raises(TypeError, match="expected the parameters of look as a JSON schema"):
        Tool(name="look", parameters=parameters)
