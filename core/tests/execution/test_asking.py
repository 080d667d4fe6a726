"""What a caller may say in one call: what nobody could be asked is refused before anything is sent."""

import functools
import sys
from unittest.mock import AsyncMock

import pytest
from timed import WAYS, Player, Stage, ask

from understudy import Policy, Tool
from understudy.extras import json_schema

every_way = pytest.mark.parametrize("how", WAYS)
TOOL = Tool(name="add")


async def coroutine(response):
    return True


async def asynchronous_generator(response):
    yield True


def generator(response):
    yield True


class Asynchronous:
    async def __call__(self, response):
        return True

    async def check(self, response):
        return True


def refused(how, kind, words, **options):
    """See that a call is refused in all ways, and that nobody was asked or is held responsible."""
    stage = Stage(*(Player(name, tools=True, output_schema=True) for name in "ab"), policy=Policy.patient())
    with pytest.raises(kind, match=words):
        ask(stage.factory, how, run=stage.clock.run, **options)
    with pytest.raises(kind, match=words):
        stage.factory.plan(**options)
    assert [player.requests for player in stage.players] == [[], []]
    assert stage.state() == stage.state(1) == "closed"


@every_way
@pytest.mark.parametrize(
    ("output_schema", "words"),
    [
        ({"type": "objekt"}, r"output_schema: expected a valid JSON schema; \$\.type: expected one of"),
        ({"$ref": "#/nowhere"}, "expected references within the schema"),
        ({"properties": {"a": {"pattern": "["}}}, r"\$\.properties\.a\.pattern: expected a regular expression"),
        ({"$schema": []}, "output_schema: expected a valid JSON schema, found one at which TypeError"),
        ({"$ref": "#"}, "refers to itself in a circle"),
        ({"const": {1, 2}}, "found something that is not JSON"),
    ],
)
def test_a_schema_that_cannot_be_checked_against_is_refused(how, output_schema, words):
    pytest.importorskip("jsonschema")
    refused(how, ValueError, words, output_schema=output_schema)


def test_without_jsonschema_a_schema_has_to_be_json(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    json_schema.is_installed.cache_clear()
    try:
        refused("sync", ValueError, "found something that is not JSON", output_schema={"const": {1, 2}})
        stage = Stage(Player("a", "{}", output_schema=True))
        assert stage.ask(output_schema={"type": "objekt"}).success
    finally:
        json_schema.is_installed.cache_clear()


def test_an_old_jsonschema_is_none(monkeypatch):
    """Before 4.18 it came without `referencing`, and fetched what a schema refers to."""
    monkeypatch.setitem(sys.modules, "referencing", None)
    json_schema.is_installed.cache_clear()
    try:
        assert not json_schema.is_installed()
    finally:
        json_schema.is_installed.cache_clear()


def test_a_schema_is_read_once_and_a_changed_one_anew():
    pytest.importorskip("jsonschema")
    json_schema._checker.cache_clear()
    stage, mine = Stage(Player("a", "{}", output_schema=True)), {"type": "object"}
    for _ in range(3):
        assert stage.ask(output_schema=dict(mine)).success
    assert json_schema._checker.cache_info().misses == 1
    mine["type"] = "objekt"
    with pytest.raises(ValueError, match="objekt"):
        stage.ask(output_schema=mine)


@every_way
@pytest.mark.parametrize(
    ("validator", "words"),
    [
        (coroutine, "as a plain function, found an async one, coroutine: .*with def instead of async def"),
        (functools.partial(coroutine), "found an async one, partial"),
        (Asynchronous(), "found an async one, Asynchronous"),
        (Asynchronous().check, r"found an async one, Asynchronous\.check"),
        (AsyncMock(), "found an async one, AsyncMock"),
        (asynchronous_generator, "found an async one"),
        (generator, "found a generator, generator"),
        (5, "expected validator as a function that takes the response, found 5"),
    ],
)
def test_a_validator_that_gives_no_verdict_is_refused(how, validator, words):
    refused(how, TypeError, words, validator=validator)


class Model:
    @classmethod
    def model_json_schema(cls):
        return {"type": "object"}


@every_way
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output_schema": [1]}, "expected output_schema as a mapping, .*, found list"),
        ({"output_schema": True}, "found bool"),
        ({"output_schema": dict}, "found the class dict"),
        ({"output_schema": Model}, r"found a pydantic model: give its model_json_schema\(\)"),
        ({"tools": [{"name": "add"}]}, "expected tools as a sequence of understudy.Tool, found dict in it"),
        ({"tools": TOOL}, "expected tools as a sequence of understudy.Tool, found Tool"),
        ({"system": 5}, "expected system as a string, found int"),
        ({"model": b"m"}, "expected model as a string, found bytes"),
        ({"stop": 5}, "expected stop as a sequence of strings, found int"),
        ({"options": ["claude"]}, "expected options as settings by provider name, .*, found list"),
        ({"options": {"claude": "sk-secret-secret"}}, "expected options of claude as a mapping, found str$"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused(how, options, words):
    refused(how, TypeError, words, **options)


@every_way
def test_options_that_are_none_are_not_there(how):
    names = ("system", "tools", "output_schema", "stop", "model", "options", "validator")
    stage = Stage(Player("a"))
    assert stage.ask(how, **dict.fromkeys(names)).success
    assert stage.players[0].requests[0].options == {}


@every_way
def test_tools_may_be_any_iterable(how):
    stage = Stage(Player("a", tools=True))
    assert stage.ask(how, tools=(tool for tool in [TOOL])).success
    assert stage.players[0].requests[0].tools == (TOOL,)
