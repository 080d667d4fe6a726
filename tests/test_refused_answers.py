"""Answers that arrive whole and will not do, through the real SDKs over sockets: the next provider is asked.

In streams nobody knows before the end whether an answer will do: what the caller sees of it is the stream recovery's.
"""

import json

import pytest
from staging import STREAMS, casts, streams, ways

from understudy import FinishReason, Policy, Restart, StreamInterrupted, hookimpl
from understudy.errors import EmptyResponse, MalformedResponse, ResponseRejected
from understudy.testing import no_waiting
from understudy_sandbox import faults

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
GOOD = {"name": "Ophelia", "age": 20}
UNSEEN = Policy.eager(stream_recovery="buffer")
LONG = "words, words, words, and more words than anybody asked for"
BRIEF = "words, words"


def check(stage, cast, response, failure, waits):
    assert waits == []
    assert stage.counts == [1, 1]
    assert (response.success, response.provider_name) == (True, cast[1])
    first, second = response.attempts
    assert isinstance(first.failure, failure), first.failure
    assert second.reason == f"after {cast[0]}: {first.failure.brief}"


@casts
@ways
def test_an_answer_without_content(stage, cast, how):
    stage.open(cast, "eager")
    stage.primary.always(faults.empty())
    with no_waiting() as waits:
        response = stage.ask(how)
    check(stage, cast, response, EmptyResponse, waits)
    assert how not in STREAMS or stage.text == response.content


@casts
@ways
@pytest.mark.parametrize("reply", [{"name": "Ophelia"}, {**GOOD, "age": -1}, {**GOOD, "mad": True}, [1]], ids=str)
def test_an_answer_that_does_not_follow_the_schema(stage, cast, how, reply):
    stage.open(cast, UNSEEN)
    stage.primary.reply(json.dumps(reply))
    stage.fallback.reply(json.dumps(GOOD))
    with no_waiting() as waits:
        response = stage.ask(how, output_schema=SCHEMA)
    check(stage, cast, response, MalformedResponse, waits)
    assert response.structured == GOOD
    assert all(warning.setting == "output_schema" for warning in response.warnings)
    assert how not in STREAMS or json.loads(stage.text) == GOOD


@casts
@ways
def test_an_answer_that_the_validator_refuses(stage, cast, how):
    stage.open(cast, UNSEEN)
    stage.primary.reply("I would prefer not to.")
    stage.fallback.reply("By all means.")
    asked = []

    def validator(response):
        asked.append(response.provider_name)
        return "it declines" if "prefer not" in response.content else None

    with no_waiting() as waits:
        response = stage.ask(how, validator=validator)
    check(stage, cast, response, ResponseRejected, waits)
    assert asked == list(cast)
    assert response.attempts[0].failure.message == "it declines"
    assert response.content == "By all means."
    assert how not in STREAMS or stage.text == response.content


class Critic:
    """An extension that refuses what a provider says, whoever asked for it."""

    def __init__(self, provider):
        self.provider = provider

    @hookimpl
    def understudy_check_response(self, request, response):
        if response.provider_name == self.provider:
            raise ResponseRejected(f"not after {request.prompt!r}")


@casts
@ways
def test_an_answer_that_an_extension_refuses(stage, cast, how):
    stage.open(cast, UNSEEN, extensions=[Critic(cast[0])])
    with no_waiting() as waits:
        response = stage.ask(how)
    check(stage, cast, response, ResponseRejected, waits)
    assert response.attempts[0].failure.message == "not after 'hello'"
    assert how not in STREAMS or stage.text == response.content


@casts
@ways
def test_an_answer_that_is_cut_by_its_length(stage, cast, how):
    stage.open(cast, Policy.eager(stream_recovery="buffer", switch_on_length=True))
    stage.primary.reply(LONG)
    stage.fallback.reply(BRIEF)
    with no_waiting() as waits:
        response = stage.ask(how, max_tokens=4)
    check(stage, cast, response, ResponseRejected, waits)
    assert (response.content, response.finish_reason) == (BRIEF, FinishReason.STOP)
    assert how not in STREAMS or stage.text == response.content


@casts
@ways
def test_by_default_a_cut_answer_is_an_answer_that_says_so(stage, cast, how):
    stage.open(cast, "eager")
    stage.primary.reply(LONG)
    response = stage.ask(how, max_tokens=4)
    assert (response.provider_name, response.finish_reason) == (cast[0], FinishReason.LENGTH)
    assert LONG.startswith(response.content)
    assert stage.counts == [1, 0]


@casts
@streams
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_where_the_caller_has_seen_it_a_restart_is_told(stage, cast, how, recovery):
    """A whole answer is not gone on with."""
    stage.open(cast, Policy.eager(stream_recovery=recovery))
    stage.primary.reply("I would prefer not to.")
    stage.fallback.reply("By all means.")
    response = stage.ask(how, validator=lambda response: "prefer not" not in response.content)
    assert stage.counts == [1, 1]
    (restart,) = [event for event in stage.events if isinstance(event, Restart)]
    assert isinstance(restart.failure.__cause__, ResponseRejected)
    assert stage.text == "I would prefer not to.By all means."
    assert response.content == "By all means."


@casts
@streams
def test_where_nothing_may_be_switched_any_more_it_is_an_error(stage, cast, how):
    stage.open(cast, "eager")
    with pytest.raises(StreamInterrupted) as caught:
        stage.ask(how, validator=lambda response: False)
    assert isinstance(caught.value.__cause__, ResponseRejected)
    assert caught.value.partial == stage.text != ""
    assert stage.counts == [1, 0]


@casts
@ways
def test_an_answer_that_nobody_gives_well(stage, cast, how):
    stage.open(cast, UNSEEN)
    with no_waiting() as waits:
        response = stage.ask(how, validator=lambda response: False)
    assert response.error == f"All LLM providers failed: [{cast[0]}: response rejected, {cast[1]}: response rejected]"
    assert (stage.counts, waits) == ([1, 1], [])
    assert stage.text == ""
    health = stage.factory.get_provider_status()["primary"]["health"]
    assert (health["state"], health["failures"]) == ("closed", 0)
