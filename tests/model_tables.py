"""The tables about models: the rules with their sources, and what a default call sends to each default model."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from understudy import ChatProvider, LLMFactory
from understudy_sandbox import Sandbox
from understudy_sandbox.exchange import RecordedRequest
from understudy_toolkit.model_rules import ModelRule

STAND_INS = {"gemini-legacy": "gemini"}  # who stands in for the vendor, where the name is another
ALWAYS_SENT = ("model", "messages", "input", "contents")  # what every request must hold: whom to ask, and what


def table(head: Iterable[str], *body: Iterable[str]) -> str:
    """Write a table."""
    lines = ["".join(f"| {cell} " if cell else "| " for cell in line) + "|\n" for line in (head, *body)]
    return "".join([lines[0], "|---" * lines[0].count("| ") + "|\n", *lines[1:]])


def models_of(provider: ChatProvider) -> Any:
    """Return the module in which a provider's plugin keeps what is known of its models; None where it has none."""
    package = type(provider).__module__.partition(".")[0]
    try:
        return import_module(f"{package}.models")
    except ModuleNotFoundError:
        return None


def vendors() -> Iterator[tuple[str, ChatProvider, Any]]:
    """Yield every provider of ours that asks a vendor, one for each package."""
    seen = set()
    for found in LLMFactory.PROVIDER_REGISTRY.describe():
        if not found.is_ours:
            continue
        with LLMFactory(found.name, [], settings={}, extensions=[]) as factory:
            ((_, provider),) = factory.route
        models = models_of(provider)
        if models is not None and models.__name__ not in seen:
            seen.add(models.__name__)
            yield found.name, provider, models


def the_first_calls() -> str:
    """Say of each default model what an answer costs and how long one takes, from the sources that its plugin names."""
    body = []
    for name, provider, models in vendors():
        rules: list[ModelRule] = [rule for rule in models.rules() if rule.about in ("price", "first answer")]
        price, first = (
            " ".join(with_source(rule) for rule in rules if rule.about == about) for about in PRICE_AND_TIME
        )
        body.append([f"`{name}`", f"`{provider.default_model}`", price or "-", first or "-"])
    return table(["provider", "model", "what it costs", "how long a first answer takes"], *body)


PRICE_AND_TIME = ("price", "first answer")


def with_source(rule: ModelRule) -> str:
    return f"{rule.rule} ({linked(rule.source)}, {rule.read})"


def linked(source: str) -> str:
    """Write a source: an address as a link, anything else as it is."""
    if not source.startswith("https://"):
        return source
    return f"[{source.removeprefix('https://').partition('/')[0]}]({source})"


def the_rules_of_the_models() -> str:
    """List what each plugin knows of its vendor's models, with where and when that was read."""
    parts = []
    for name, _, models in vendors():
        body = [[rule.about, rule.models, rule.rule, f"{linked(rule.source)}, {rule.read}"] for rule in models.rules()]
        parts.append(f"### {name}\n\n" + table(["about", "models", "rule", "source, and the day it was read"], *body))
    return "\n".join(parts)


def what_a_default_call_sends() -> str:
    """Make a default call of each provider, and say why each field stands in what reached the stand-in."""
    parts = []
    with Sandbox() as sandbox:
        for name, _, models in vendors():
            with LLMFactory(name, [], settings=sandbox.environment(), extensions=[]) as factory:
                stand_in = sandbox[STAND_INS.get(name, name)]
                stand_in.reset()
                # At the vendor's own address that is the default; elsewhere another one would be taken.
                options = {"openai": {"api": "responses"}} if name == "openai" else {}
                assert factory.generate_content("Hello", options=options).success
                (request,) = stand_in.requests
                model = factory.route[0][1].default_model
            body = list(reasons(request, models.WHY_SENT, f"{name}: "))
            parts.append(f"### {name}: {model}\n\n" + table(["field", "value", "why"], *body))
    return "\n".join(parts)


def reasons(request: RecordedRequest, why: Mapping[str, str], who: str) -> Iterator[list[str]]:
    """Yield each field that was sent, with its value and the reason; then what is left out on purpose.

    Raises:
        AssertionError: no reason is given for a field, or one is given for a field that was not sent.
    """
    sent = dict(flattened(request.json))
    sent |= {f"header {name}": request.headers[name] for name in headers_named(why) if name in request.headers}
    unexplained = [field for field in sent if field not in why]
    unsent = [field for field in why if field not in sent and not field.startswith("not sent: ")]
    assert (unexplained, unsent) == ([], []), f"{who}no reason for {unexplained}; not sent: {unsent}"
    for field, value in sent.items():
        yield [f"`{field}`", f"`{value}`", why[field]]
    for field, reason in why.items():
        if field.startswith("not sent: "):
            yield [f"`{field.removeprefix('not sent: ')}`", "not sent", reason]


def headers_named(why: Mapping[str, str]) -> list[str]:
    return [field.removeprefix("header ") for field in why if field.startswith("header ")]


def flattened(body: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a request with their dotted paths, but for those that every request must hold."""
    for name, value in body.items():
        if not before and name in ALWAYS_SENT:
            continue
        if isinstance(value, Mapping):
            yield from flattened(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", json.dumps(value)


TABLES: dict[str, Callable[[], str]] = {
    "first calls": the_first_calls,
    "the rules of the models": the_rules_of_the_models,
    "what a default call sends": what_a_default_call_sends,
}
