"""What a caller hands to the public calls: messages, tools, schemas, options, numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as some

from fuzz import held
from fuzz.corpus import VENDORS, corpus
from fuzz.replies import forget, loop
from understudy import File, Image, LLMFactory, Message, Text, Thinking, Tool, ToolCall, ToolResult, UnderstudyError
from understudy.errors import AllProvidersFailed, UnknownFailure
from understudy.health import InMemoryHealthStore

TEXTS = ("", " ", "Hello", "\ud800", "\x00", "\ufeff", "e\u0301" * 100, "x" * 10_000, "\u2028", "assistant")
ODD = (
    *(None, True, -1, 0, 2**70, float("nan"), float("inf"), -0.0, 1e308, Decimal("NaN"), b"bytes", object(), {1, 2}),
    *((), [], {}, [[]], {1: 2}, {"a": object()}, {"a": b"x"}, {"a": float("nan")}, lambda: None, int, "text", "\ud800"),
)
odd = some.sampled_from(ODD)
text = some.sampled_from(TEXTS) | some.text(max_size=10)
json = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | text,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
KEYWORDS = (
    *("type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "oneOf", "not", "$ref", "$defs"),
    *("additionalProperties", "minimum", "maxLength", "pattern", "format", "default", "nullable", "description", "if"),
    *(
        "patternProperties",
        "prefixItems",
        "minItems",
        "title",
        "examples",
        "$schema",
        "$id",
        "definitions",
        "discriminator",
    ),
)
TYPES = ("object", "array", "string", "integer", "number", "boolean", "null", "any", "", ["string", "null"], [])
REFERENCES = (
    "#",
    "#/$defs/a",
    "#/definitions/a",
    "#/properties/a",
    "http://127.0.0.1:9/x",
    "",
    "a",
    "#/$defs/%00",
    "#a",
)


def _schema(inner: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    parts = some.dictionaries(some.sampled_from(("a", "b", "", "$ref", "type", "\u00e9")), inner, max_size=3)
    values = some.one_of(inner, some.lists(inner, max_size=3), parts, some.sampled_from(TYPES + REFERENCES), json)
    return some.dictionaries(some.sampled_from(KEYWORDS), values, max_size=4)


schemas = some.recursive(
    some.sampled_from(({}, True, False, {"type": "string"}, {"$ref": "#"}, {"type": "object", "properties": {}})),
    _schema,
    max_leaves=8,
)
provider_data = some.dictionaries(
    some.sampled_from(("claude", "gemini", "openai", "cohere", "ollama")), json, max_size=2
)


@some.composite
def parts(draw: Any, role: str) -> Any:
    """A part of a message."""
    data = {"provider_data": draw(provider_data)} if draw(some.booleans()) else {}
    arguments = draw(some.dictionaries(text, json, max_size=3))
    makers = {
        "user": (
            lambda: Text(draw(text | odd), **data),
            lambda: Image(data=b"\x89PNG", media_type=draw(some.sampled_from(("image/png", "", "x/y"))) or "a", **data),
            lambda: Image(url=draw(text | odd), **data),
            lambda: File(data=b"%PDF", media_type="application/pdf", name=draw(text), **data),
            lambda: File(url=draw(text), media_type=draw(some.none() | text), **data),
        ),
        "assistant": (
            lambda: Text(draw(text), **data),
            lambda: Thinking(draw(text), **data),
            lambda: ToolCall(id=draw(text | odd), name=draw(text), arguments=draw(some.just(arguments) | odd), **data),
        ),
        "tool": (
            lambda: ToolResult(call_id=draw(text), name=draw(text), content=draw(text | odd), **data),
            lambda: ToolResult(call_id=draw(text), content=(Text(draw(text)), Image(url="http://127.0.0.1:9/"))),
        ),
    }
    return draw(some.sampled_from(makers[role]))()


@some.composite
def prompts(draw: Any) -> Any:
    """A prompt of any kind."""
    match draw(some.sampled_from(("text", "messages", "messages", "messages", "mapping", "odd"))):
        case "text":
            return draw(text)
        case "mapping":
            roles = some.sampled_from(("user", "system", "assistant", "tool", ""))
            return draw(some.lists(some.fixed_dictionaries({"role": roles, "content": text | odd}), max_size=3))
        case "odd":
            return draw(odd)
    roles = draw(some.lists(some.sampled_from(("user", "assistant", "tool")), min_size=1, max_size=4))
    return [Message(role, tuple(draw(some.lists(parts(role), min_size=1, max_size=3)))) for role in roles]


@some.composite
def options(draw: Any) -> dict[str, Any]:
    """Options of a call."""
    makers = {
        "system": text | odd,
        "tools": some.lists(tools(), max_size=3) | odd,
        "tool_choice": some.sampled_from(("auto", "none", "required", "f", "")) | odd,
        "output_schema": schemas | odd,
        "stop": text | some.lists(text | odd, max_size=6) | odd,
        "model": text | odd,
        "timeout": some.sampled_from((1, 0.5, 30)) | odd,
        "deadline": some.sampled_from((1, 0.5, 30)) | odd,
        "options": some.dictionaries(some.sampled_from([v.name for v in VENDORS.values()]), json | odd, max_size=2)
        | odd,
        "temperature": some.floats() | odd,
        "max_tokens": some.integers() | odd,
        "max_retries": some.just(0) | odd,
        "validator": odd,
        "policy": some.sampled_from(("patient", "eager", "", "none")) | odd,
        "nonsense": odd,
    }
    chosen = draw(some.lists(some.sampled_from(sorted(makers)), max_size=3, unique=True))
    return {name: draw(makers[name]) for name in chosen}


@some.composite
def tools(draw: Any) -> Any:
    """A tool; None where there can be none."""
    try:
        return Tool(name=draw(some.sampled_from(("f", "g"))), description=draw(text), parameters=draw(schemas))
    except (TypeError, ValueError):
        return None


@some.composite
def calls(draw: Any) -> tuple[str, Any, dict[str, Any], bool]:
    """Whom to ask, a prompt, options, and whether the answer is to be a stream."""
    return draw(some.sampled_from(tuple(VENDORS))), draw(prompts()), draw(options()), draw(some.booleans())


def check_call(example: tuple[str, Any, dict[str, Any], bool]) -> None:
    """Hold that a call answers, or refuses in words of ours before anything is sent; sync and async alike."""
    label, prompt, given, as_stream = example
    known = corpus()
    lane = known.lanes[label]
    _, lane.sent = (known.streams if as_stream else known.whole)[label][0]
    kinds = []
    for asynchronous in (False, True):
        forget()
        lane.ask = None
        with held.in_time(), held.listening():
            kinds.append(_play(known.providers[label], lane, prompt, given, as_stream, asynchronous))
    assert kinds[0] == kinds[1], kinds


def _play(provider: Any, lane: Any, prompt: Any, given: dict[str, Any], as_stream: bool, asynchronous: bool) -> str:
    factory = LLMFactory(provider, [], settings={}, extensions=[], health_store=InMemoryHealthStore())
    try:
        if asynchronous:
            response = loop().run_until_complete(_aask(factory, prompt, given, as_stream))
        elif as_stream:
            *_, finish = factory.stream_content(prompt, **{"max_retries": 0, **given})
            response = finish.response
        else:
            response = factory.generate_content(prompt, **{"max_retries": 0, **given})
    except UnderstudyError as error:
        return type(error).__name__
    except (TypeError, ValueError) as error:
        refused = error
    else:
        return _judge(response)
    assert lane.ask is None, f"{refused!r} after something was sent"
    assert str(refused), "an error without words"
    return type(refused).__name__


def _judge(response: Any) -> str:
    failures = [attempt.failure for attempt in response.attempts if attempt.failure is not None]
    for failure in failures:
        if isinstance(failure, UnknownFailure):
            raise AssertionError(f"nobody knows what this is: {failure!r:.300}") from failure
    if isinstance(response.failure, AllProvidersFailed):
        return ", ".join(type(failure).__name__ for failure in response.failure.failures)
    return "answer" if response.success else type(response.failure).__name__


async def _aask(factory: LLMFactory, prompt: Any, given: dict[str, Any], as_stream: bool) -> Any:
    if not as_stream:
        return await factory.agenerate_content(prompt, **{"max_retries": 0, **given})
    events = [event async for event in factory.astream_content(prompt, **{"max_retries": 0, **given})]
    return events[-1].response
