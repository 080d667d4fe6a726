"""What the constructor of a registered class is given: its settings, and its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from understudy import ConfigurationError, LLMFactory, LLMProvider, LLMResponse, Settings
from understudy.discovery.registry import ProviderRegistry
from understudy.errors import BrokenPlugin, PluginError
from understudy.masking import conceal

NOTHING = Settings(environment={})


class Raven(LLMProvider):
    """A provider of the plainest kind."""

    def generate_content(self, prompt: str, temperature: float = 0.0, max_tokens: int = 1024) -> LLMResponse:
        """Answer as ravens do."""
        return LLMResponse(True, "nevermore", "raven")

    def get_provider_name(self) -> str:
        """Return its name."""
        return "raven"

    def is_available(self) -> bool:
        """Return that it is always there."""
        return True


class Keyed(Raven):
    """Takes a key as the simplest classes do."""

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key


def test_a_constructor_is_given_its_settings_and_its_key() -> None:
    class Both(Raven):
        def __init__(self, settings: Settings, *, api_key: str, model: str = "raven-1") -> None:
            self.given = settings, api_key, model

    settings = Settings({"BOTH_API_KEY": "a-key-0123456789"}, environment={})
    registry = ProviderRegistry()
    registry.register("both", Both)
    made: Any = registry.build("both", settings)
    assert made.given == (settings, "a-key-0123456789", "raven-1")
    assert type(made.given[1]) is str
    assert conceal("a-key-0123456789") == "***"  # it is masked from here on


@pytest.mark.parametrize(
    ("name", "variable"), [("raven", "RAVEN_API_KEY"), ("my-raven.2", "MY_RAVEN_2_API_KEY"), ("räven", "R_VEN_API_KEY")]
)
def test_the_key_is_looked_for_under_the_name_in_capitals(name: str, variable: str) -> None:
    registry = ProviderRegistry()
    registry.register(name, Keyed)
    made: Any = registry.build(name, Settings(environment={variable: "a-key-0123456789"}))
    assert made.api_key == "a-key-0123456789"
    with pytest.raises(
        ConfigurationError, match=f"^{variable} is not set: expected it in the environment or "
    ) as caught:
        registry.build(name, NOTHING)
    assert not isinstance(caught.value, PluginError)
    with pytest.raises(ConfigurationError, match=f"^{variable} is empty in the arguments: expected a value$"):
        registry.build(name, Settings({variable: " "}, environment={}))
    with pytest.raises(ConfigurationError, match=f"^{variable} in the arguments: .* found a space inside it"):
        registry.build(name, Settings({variable: "two words"}, environment={}))


def test_a_key_with_a_default_may_be_missing() -> None:
    class Perhaps(Raven):
        def __init__(self, settings: Settings | None = None, api_key: str = "none") -> None:
            self.given = settings, api_key

    registry = ProviderRegistry()
    registry.register("perhaps", Perhaps)
    made: Any = registry.build("perhaps", NOTHING)
    assert made.given == (NOTHING, "none")


def test_what_a_constructor_does_not_name_is_not_given() -> None:
    class Loose(Raven):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.given = arguments, options

    registry = ProviderRegistry()
    registry.register("loose", Loose)
    made: Any = registry.build("loose", Settings({"LOOSE_API_KEY": "a-key-0123456789"}, environment={}))
    assert made.given == ((), {})


@pytest.mark.parametrize("settings", [{}, {"NEEDY_API_KEY": "a-key-0123456789"}])
def test_any_other_required_parameter_is_an_error_with_and_without_the_key(settings: dict[str, str]) -> None:
    class Needy(Raven):
        def __init__(self, api_key: str, model: str) -> None:
            raise AssertionError("it was made without a model")

    registry = ProviderRegistry()
    registry.register("needy", Needy)
    with pytest.raises(BrokenPlugin, match=r"missing .*'model'; make .*Needy\(\) work without arguments besides"):
        registry.build("needy", Settings(settings, environment={}))


def test_a_provider_without_its_key_is_skipped_and_says_which_variable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LLMFactory, "PROVIDER_REGISTRY", ProviderRegistry())
    LLMFactory.register_provider("keyed", Keyed)
    LLMFactory.register_provider("raven", Raven)
    response = LLMFactory("keyed", ["raven"], settings=NOTHING, extensions=[]).generate_content("hello")
    assert (response.content, response.attempts[0].outcome) == ("nevermore", "skipped")
    assert "KEYED_API_KEY is not set: expected it in the environment or " in response.attempts[0].reason
    assert "keyed cannot be used: KEYED_API_KEY is not set" in caplog.text
    settings = Settings({"KEYED_API_KEY": "a-key-0123456789"}, environment={})
    assert LLMFactory("keyed", ["raven"], settings=settings, extensions=[]).get_provider_status()["current"] == "keyed"


def test_a_table_says_which_variable_holds_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLMFactory, "PROVIDER_REGISTRY", ProviderRegistry())
    LLMFactory.register_provider("keyed", Keyed)
    (tmp_path / "understudy.toml").write_text(
        '[providers.jay]\nuses = "keyed"\napi_key_env = "JAY_API_KEY"\n'
        '[providers.free]\nuses = "keyed"\napi_key_env = ""\n'
    )
    keys = {"JAY_API_KEY": "jays-key-0123456789", "KEYED_API_KEY": "a-key-0123456789"}
    factory = LLMFactory("jay", ["free"], settings=Settings(environment=keys, directory=tmp_path), extensions=[])
    assert [provider.provider.api_key for _, provider in factory.route] == ["jays-key-0123456789", ""]  # type: ignore[attr-defined]  # a PlainProvider
    factory = LLMFactory("jay", ["free"], settings=Settings(environment={}, directory=tmp_path), extensions=[])
    assert (factory.route[0][1].unavailable_reason() or "").startswith("JAY_API_KEY is not set")
