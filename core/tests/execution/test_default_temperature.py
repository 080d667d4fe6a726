"""A call that names no temperature carries no warning about one; a temperature that the caller wrote does."""

import asyncio
import inspect
import json

import pytest

from understudy import LLMFactory, LLMProvider, LLMResponse, Request, ResponseWarning
from understudy.messages import DEFAULT_TEMPERATURE, Message
from understudy.testing import ScriptedProvider

IGNORED = ResponseWarning("temperature", "this model takes no temperature: it was not sent")
OTHER = ResponseWarning("stop", "stop was left out")


class Fixed(ScriptedProvider):
    """Its model takes no temperature, as several vendors' do not: it says so of any."""

    def __init__(self, name="fixed"):
        super().__init__(name)
        self.heard = []

    def generate(self, request):
        self.heard.append(request.temperature)
        warnings = (IGNORED, OTHER) if request.temperature is not None else (OTHER,)
        return LLMResponse(True, "fine", self.name, warnings=warnings)


def factory_of(*providers, **options):
    return LLMFactory(providers[0], providers[1:], settings={}, extensions=[], **options)


def stream(factory, **options):
    return list(factory.stream_content("hello", **options))[-1].response


async def astream(factory, **options):
    return [event async for event in factory.astream_content("hello", **options)][-1].response


CALLS = {
    "sync": lambda factory, **options: factory.generate_content("hello", **options),
    "async": lambda factory, **options: asyncio.run(factory.agenerate_content("hello", **options)),
    "stream": stream,
    "async stream": lambda factory, **options: asyncio.run(astream(factory, **options)),
}


@pytest.mark.parametrize("kind", CALLS)
def test_only_a_temperature_that_the_caller_wrote_is_warned_of(kind):
    provider = Fixed() if "stream" not in kind else Streamed()
    ask, factory = CALLS[kind], factory_of(provider)
    assert ask(factory).warnings == (OTHER,)
    assert ask(factory, temperature=0.0).warnings == (IGNORED, OTHER)
    assert ask(factory, temperature=0.7).warnings == (IGNORED, OTHER)
    assert ask(factory, temperature=0).warnings == (IGNORED, OTHER)
    assert ask(factory, temperature=None).warnings == (OTHER,)
    assert provider.heard == [0.0, 0.0, 0.7, 0, None]


class Streamed(Fixed):
    """The same, piece by piece."""

    def stream(self, request):
        response = self.generate(request)
        self.script = [response]
        yield from ScriptedProvider.stream(self, request)


def test_a_fallback_is_asked_with_the_default_and_warns_of_it_as_little():
    refusing = ScriptedProvider("a", unavailable="no key")
    assert factory_of(refusing, Fixed("b")).generate_content("hello").warnings == (OTHER,)
    assert factory_of(refusing, Fixed("b")).generate_content("hello", 0.5).warnings == (IGNORED, OTHER)


def test_a_validator_sees_what_the_caller_is_given():
    seen = []
    factory_of(Fixed()).generate_content("hello", validator=lambda response: seen.append(response.warnings))
    assert seen == [(OTHER,)]


def test_a_provider_asked_by_itself_knows_the_same_default():
    assert Fixed().generate_content("hello").warnings == (OTHER,)
    assert Fixed().generate_content("hello", temperature=0.0).warnings == (IGNORED, OTHER)


def test_a_class_of_three_methods_is_given_a_plain_number():
    class Parrot(LLMProvider):
        def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
            return LLMResponse(True, repr((temperature, max_tokens)), "parrot", warnings=(IGNORED,))

        def get_provider_name(self):
            return "parrot"

        def is_available(self):
            return True

    response = factory_of(Parrot()).generate_content("hello")
    assert (response.content, response.warnings) == ("(0.0, 1024)", ())


def test_the_default_is_sent_and_shown_like_any_other_number():
    assert inspect.signature(LLMFactory.generate_content).parameters["temperature"].default == 0.0
    assert (repr(DEFAULT_TEMPERATURE), json.dumps({"temperature": DEFAULT_TEMPERATURE})) == (
        "0.0",
        '{"temperature": 0.0}',
    )
    assert Request(messages=(Message.user("hello"),), temperature=DEFAULT_TEMPERATURE).temperature == 0.0


def test_warnings_of_a_strange_kind_are_left_as_they_are():
    class Strange(Fixed):
        def generate(self, request):
            return LLMResponse(True, "fine", self.name, warnings=("a text",))

    assert factory_of(Strange()).generate_content("hello").warnings == ("a text",)
