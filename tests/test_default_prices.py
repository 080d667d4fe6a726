"""The models that our plugins ask by default, and the price list of the extra "prices"."""

from collections.abc import Iterator

import pytest

from understudy import LLMFactory, Settings, Usage
from understudy.extras.pricing import price_of


@pytest.fixture(scope="module")
def defaults() -> Iterator[dict[str, str]]:
    """The default model of every installed provider of ours that has one."""
    registry, settings = LLMFactory.PROVIDER_REGISTRY, Settings(environment={}, directory="/")
    providers = {found.name: registry.build(found.name, settings) for found in registry.describe() if found.is_ours}
    models = {name: getattr(provider, "default_model", None) for name, provider in providers.items()}
    yield {name: model for name, model in models.items() if model is not None}
    for provider in providers.values():
        getattr(provider, "close", lambda: None)()


def test_every_default_model_has_a_price(defaults: dict[str, str]) -> None:
    asked = Usage(input_tokens=1000, output_tokens=100)
    unknown = [name for name, model in defaults.items() if price_of(name, model, asked) is None]
    assert unknown == []
    assert {"claude", "gemini", "vertex", "gemini-legacy", "openai", "cohere", "ollama"} <= set(defaults)
