"""A conversation begun with one provider goes on with another, and comes back: every ordered pair, over the wire.

The stand-ins check what the vendors check (results that answer a call, roles in turn), and hold what they received.
"""

import base64
import itertools
import json

import pytest

from understudy import Image, LLMFactory, Message, Text, Thinking, Tool, ToolResult

ADD = Tool(
    name="add",
    description="Adds two numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
)
PICTURE = Image(data=b"\x89PNG-not-really", media_type="image/png")
STAND_INS = {
    "gemini": "gemini",
    "gemini-legacy": "gemini",
    "claude": "claude",
    "openai": "openai",
    "cohere": "cohere",
    "ollama": "ollama",
}
THINKS = {  # how each is told to show its reasoning
    "gemini": {"thinkingConfig": {"includeThoughts": True}},
    "claude": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096},
    "openai": {"api": "responses", "reasoning": {"effort": "low", "summary": "auto"}},
    "cohere": {"thinking": {"type": "enabled"}},
    "ollama": {"think": True},
}
MODELS = {  # where the default model lacks what travels here: pictures and thoughts, signatures of tool calls
    "COHERE_MODEL": "command-a-plus-05-2026",
    "GEMINI_LEGACY_MODEL": "gemini-2.5-flash-lite",
}
PROVIDERS = [name for name in STAND_INS if name in LLMFactory.PROVIDER_REGISTRY]
PAIRS = list(itertools.permutations(PROVIDERS, 2))
pairs = pytest.mark.parametrize(("first", "second"), PAIRS, ids=[" to ".join(pair) for pair in PAIRS])


@pytest.fixture(scope="module")
def factories(_understudy_sandbox):
    settings = _understudy_sandbox.environment() | MODELS
    made = {name: LLMFactory(name, [], settings=settings, extensions=[]) for name in PROVIDERS}
    yield made
    for factory in made.values():
        factory.close()


@pytest.fixture
def ask(sandbox, factories):
    """Ask one provider and return its answer and what its vendor received."""

    def ask(name, history, **arguments):
        response = factories[name].generate_content(history, temperature=None, **{"max_retries": 0, **arguments})
        assert response.success, response.failure and response.failure.__dict__
        return response, sandbox[STAND_INS[name]].requests[-1].json

    return ask


def capabilities(factories, name):
    return factories[name].route[0][1].capabilities


def links(body):
    """Every (call, result) that a request links, whatever the vendor's words for it: by id, else by name."""
    calls, results = [], []

    def walk(value):
        if isinstance(value, list):
            for item in value:
                walk(item)
        if not isinstance(value, dict):
            return
        if value.get("type") == "tool_use":
            calls.append((value["id"], value["input"]))
        elif value.get("type") == "tool_result":
            results.append(value["tool_use_id"])
        elif value.get("type") == "function_call":
            calls.append((value["call_id"], json.loads(value["arguments"])))
        elif value.get("type") == "function_call_output":
            results.append(value["call_id"])
        elif "functionCall" in value:
            calls.append((value["functionCall"]["name"], value["functionCall"]["args"]))
        elif "functionResponse" in value:
            results.append(value["functionResponse"]["name"])
        elif value.get("role") == "tool":
            results.append(value.get("tool_call_id") or value.get("tool_name"))
        elif value.get("role") == "assistant" and value.get("tool_calls"):
            for call in value["tool_calls"]:
                arguments = call["function"]["arguments"]
                arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
                calls.append((call.get("id") or call["function"]["name"], arguments))
        for inner in value.values():
            walk(inner)

    walk(body)
    return calls, results


def assert_linked(body, expected_arguments):
    calls, results = links(body)
    assert [arguments for _, arguments in calls] == expected_arguments
    named = {call for call, _ in calls}
    assert len(results) == len(calls)
    assert all(result in named or result == "add" for result in results), (calls, results)


@pairs
def test_tool_calls_travel_and_come_back(ask, first, second):
    history = [Message.user("Please use add on 2 and 3.")]
    called, _ = ask(first, history, tools=[ADD])
    assert called.tool_calls, called.content
    call = called.tool_calls[0]
    history += [called.message, Message.tool(ToolResult(call_id=call.id, name="add", content="the sum is 5"))]

    answered, received = ask(second, history, tools=[ADD])
    assert_linked(received, [dict(call.arguments)])
    assert "the sum is 5" in json.dumps(received)
    assert answered.content

    history += [answered.message, Message.user("Please use add again.")]
    again, _ = ask(second, history, tools=[ADD])
    assert again.tool_calls
    other = again.tool_calls[0]
    assert other.id != call.id
    history += [again.message, Message.tool(ToolResult(call_id=other.id, name="add", content="it is 7", is_error=True))]

    home, received = ask(first, history, tools=[ADD])
    assert_linked(received, [dict(call.arguments), dict(other.arguments)])
    assert "the sum is 5" in json.dumps(received)
    assert "it is 7" in json.dumps(received)
    assert home.content


@pairs
def test_thinking_stays_with_its_vendor_and_returns_to_it(ask, factories, first, second):
    if not capabilities(factories, first).thinking:
        pytest.skip(f"{first} shows no thinking")
    history = [Message.user("What is two and three?")]
    thought, _ = ask(first, history, options={first: THINKS[first]})
    kept = [part for part in thought.parts if isinstance(part, Thinking)]
    assert kept, thought.parts
    bound = bound_texts(thought.parts)
    assert bound or first in ("cohere", "ollama")  # who sign nothing
    history += [thought.message, Message.user("And twice that?")]

    _, received = ask(second, history)
    abroad = json.dumps(received, ensure_ascii=False)
    assert thought.content.replace('"', '\\"') in abroad
    for text in [*bound, *(part.text for part in kept if part.text)]:
        assert text not in abroad

    _, received = ask(first, history, options={first: THINKS[first]})
    home = json.dumps(received, ensure_ascii=False)
    for text in bound:
        assert text in home


def bound_texts(parts):
    """The signatures and sealed thoughts that only their vendor can read."""
    found = []

    def walk(value, key=""):
        if isinstance(value, dict) or hasattr(value, "items"):
            for inner_key, inner in value.items():
                walk(inner, inner_key)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner, key)
        elif isinstance(value, str) and key in ("signature", "thoughtSignature", "encrypted_content"):
            found.append(value)

    for part in parts:
        walk(part.provider_data)
    return found


@pairs
def test_pictures_travel(ask, factories, first, second):
    for name in (first, second):
        if not capabilities(factories, name).images:
            pytest.skip(f"{name} takes no images")
    history = [Message.user("What is this?", PICTURE)]
    seen, _ = ask(first, history)
    history += [seen.message, Message.user("Are you sure?")]
    _, received = ask(second, history)
    assert base64.b64encode(PICTURE.data).decode() in json.dumps(received)


@pairs
def test_text_travels_in_order(ask, first, second):
    history = [Message.user("One."), Message.assistant("Two."), Message.user("Three.")]
    answer, _ = ask(first, history, system="Count.")
    history += [answer.message, Message.user("Five.")]
    _, received = ask(second, history, system="Count.")
    text = json.dumps(received)
    places = [text.index(word) for word in ("One.", "Two.", "Three.", "Five.")]
    assert places == sorted(places)
    assert "Count." in text
    assert all(isinstance(part, Text | Thinking) for part in answer.parts)
