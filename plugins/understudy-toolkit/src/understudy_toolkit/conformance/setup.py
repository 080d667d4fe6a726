"""What a conformance class sets and may override, and the fixtures that all rules of the contract use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from understudy.factory import LLMFactory
from understudy.provider import ChatProvider
from understudy.routing.adapters import PlainProvider
from understudy.settings import Settings
from understudy.usage import Usage
from understudy_toolkit.conformance.asking import WAYS, Way
from understudy_toolkit.conformance.faults import FAULTS


class ContractSetup:
    """The part of a conformance class that its author fills in.

    Attributes:
        name: the provider's entry-point name, or the name under which a class was registered in this process.
        settings: what the provider reads: its key (any text that is not a key), its address. The environment and `.env`
            are not read, so that the run is the same everywhere. None takes away what a stand-in sets.
        key: the variable among them that holds the key; None for a provider without one.
        sdk: modules that must not be loaded before the first request: ("openai", "httpx2").
        reports_usage: whether every answer tells its tokens.
        thinking_options: what in options[name] makes the model show its thinking, where it has to be asked to.
        never: faults that this vendor does not have, each with the reason: {"blocked": "the model refuses in words"}.
        another_model: a model that a request may name instead of the default.
        costs: what the healthy answer costs, as the vendor counts it; None where that is not known.
        url_setting: the setting that holds the vendor's address; None for a provider that has none.
        url_path: what the address has after its host, for example "/v1".
        model_setting: the setting that names the model instead of the default; None where there is none.
        read_by_sdk: variables that the SDK would take from the environment by itself, with values that mislead it:
            `{stolen}` stands for what must not be sent, `{elsewhere}` for an address that must not be asked. The key,
            the address and the variables for proxies need not be named.
        uses_proxies: whether HTTP_PROXY and its like are obeyed for hosts that are not this machine.
        keeps_connections: whether one connection serves many calls, for each thread and each event loop.
        has_other_names: whether `[providers.NAME]` with `uses` in understudy.toml gives it another name.
        content_types: types under which a proxy may deliver the vendor's answers, and which are read all the same.
        time_limit: seconds that a rule may take; it fails then, and the next one runs.
    """

    name: ClassVar[str]
    settings: ClassVar[Mapping[str, str | None]] = {}
    key: ClassVar[str | None] = None
    sdk: ClassVar[tuple[str, ...]] = ()
    reports_usage: ClassVar[bool] = False
    thinking_options: ClassVar[Mapping[str, Any]] = {}
    never: ClassVar[Mapping[str, str]] = {}
    another_model: ClassVar[str] = "model-of-the-test"
    costs: ClassVar[Usage | None] = None
    url_setting: ClassVar[str | None] = None
    url_path: ClassVar[str] = ""
    model_setting: ClassVar[str | None] = None
    read_by_sdk: ClassVar[Mapping[str, str]] = {}
    uses_proxies: ClassVar[bool] = False
    keeps_connections: ClassVar[bool] = False
    has_other_names: ClassVar[bool] = False
    content_types: ClassVar[tuple[str, ...]] = ()
    time_limit: ClassVar[float] = 120.0

    # ---- what may be overridden ----

    def environment(self) -> Mapping[str, str | None]:
        """Return the settings under which the provider is made."""
        return self.settings

    def fault(self, kind: str) -> None:
        """Let the vendor do this from now on, to every request.

        Args:
            kind: a name in understudy_toolkit.conformance.FAULTS, where it says what the vendor does.

        Raises:
            NotImplementedError: this cannot be arranged; the rule is skipped.
        """
        raise NotImplementedError("nothing stands in for the vendor: override fault(), or inherit from HTTPFaults")

    def reply(self, kind: str) -> None:
        """Let the vendor be healthy from now on, and answer in this way.

        Args:
            kind: "text", "tool_call" (of get_weather), "json", "thinking", "continuation" (of "text": its second half,
                where the request has the words of the first), or "length" (cut by max_tokens). The default is for
                providers that answer what they are asked without any arrangement.

        Raises:
            NotImplementedError: this cannot be arranged; the rule is skipped.
        """
        if kind == "length":
            raise NotImplementedError("nothing stands in for the vendor: override reply(), or inherit from HTTPFaults")

    def label(self, content_type: str) -> None:
        """Let the vendor be healthy from now on, and send its answers under this content type.

        Raises:
            NotImplementedError: this cannot be arranged; the rule is skipped.
        """
        raise NotImplementedError("nothing stands in for the vendor: override label(), or inherit from HTTPFaults")

    def tell_apart(self, word: str) -> None:
        """Let the healthy answers differ by caller: to a request with "(caller 7)" in it, with 7 instead of this word.

        The default is for vendors whose answers repeat the question.
        """

    def answer_usage(self) -> Usage | None:
        """Return what the last healthy answer cost, as the vendor counts it; None where that is not known."""
        return self.costs

    def request_count(self) -> int | None:
        """Return how many requests have reached the vendor, or None where that cannot be counted."""
        return None

    def open_connections(self) -> int | None:
        """Return how many connections to the vendor are open now, or None where that cannot be counted."""
        return None

    def connection_count(self) -> int | None:
        """Return how many connections to the vendor were opened so far, or None where that cannot be counted."""
        return None

    def received_headers(self) -> Mapping[str, str] | None:
        """Return the headers of the last request, by their names in lower case; None if they cannot be seen."""
        return None

    def received(self) -> str | None:
        """Return the last request that reached the vendor, path and body as one text; None if it cannot be seen."""
        return None

    @pytest.fixture
    def vendor(self) -> None:
        """Start what stands in for the vendor; an override that yields stops it afterwards."""

    # ---- what the rules use ----

    folder: Path

    @pytest.fixture
    def provider(self, vendor: None, tmp_path: Path) -> Iterator[ChatProvider]:
        """The provider, made by its name; a class of three methods in the full contract."""
        self.folder = tmp_path
        provider = self.make()
        reason = provider.unavailable_reason()
        if reason is not None:
            pytest.fail(
                f"expected {self.name} to be available, found: {reason}; put what it needs into `settings` of "
                f"{type(self).__name__}, with a text that is not a key for its key",
                pytrace=False,
            )
        yield provider
        provider.close()

    @pytest.fixture(params=WAYS, ids=[way.name for way in WAYS])
    def ask(self, request: pytest.FixtureRequest) -> Way:
        """Each of the four calls."""
        way: Way = request.param
        return way

    @pytest.fixture(params=[way for way in WAYS if way.streams], ids=[way.name for way in WAYS if way.streams])
    def ask_stream(self, request: pytest.FixtureRequest) -> Way:
        """The two calls that stream."""
        way: Way = request.param
        return way

    def factory(self, name: str | None = None, **changes: str | None) -> LLMFactory:
        """Make a factory with this provider alone.

        Args:
            name: its name in the route, if it is another one.
            changes: settings that are different this time; None takes one away.
        """
        settings = Settings(self.given(**changes), environment={}, directory=self.folder)
        return LLMFactory(name or self.name, [], settings=settings, extensions=[])

    def given(self, **changes: str | None) -> dict[str, str]:
        """Return the settings, with these changes."""
        settings = {**self.environment(), **changes}
        return {name: value for name, value in settings.items() if value is not None}

    def make(self, name: str | None = None, **changes: str | None) -> ChatProvider:
        """Make the provider as a factory does."""
        return self.factory(name, **changes).route[0][1]

    def needs(self, provider: ChatProvider, capability: str) -> None:
        """Skip the rule where a capability is off."""
        if not getattr(provider.capabilities, capability):
            pytest.skip(f"capabilities.{capability} is off")

    def not_for_three_methods(self, provider: ChatProvider, why: str) -> None:
        """Skip the rule for a class of three methods."""
        if isinstance(provider, PlainProvider):
            pytest.skip(f"three methods: {why}")

    def arrange(self, kind: str) -> str:
        """Arrange a fault or a reply, or skip the rule.

        Returns:
            What the vendor does, in words.
        """
        if kind in self.never:
            pytest.skip(f"{kind!r} does not happen here: {self.never[kind]}")
        try:
            (self.fault if kind in FAULTS else self.reply)(kind)
        except NotImplementedError as error:
            pytest.skip(f"{kind!r} cannot be arranged: {error or 'no reason given'}")
        return FAULTS[kind].says if kind in FAULTS else kind

    def seen(self) -> str:
        """Return the last request that reached the vendor, or skip the rule if it cannot be seen."""
        text = self.received()
        if text is None:
            pytest.skip("received() returns None: nobody can see what reached the vendor")
        return text

    def stated(self, attribute: str) -> str:
        """Return what the class says, or skip the rule where it says nothing."""
        value = getattr(self, attribute)
        if not value:
            pytest.skip(f"no `{attribute}` is named" if value is None else f"{attribute} is {value!r}")
        return str(value)

    def secret(self) -> str:
        """Return the key, or skip the rule where there is none."""
        value = self.given().get(self.key) if self.key is not None else None
        if value is None:
            pytest.skip("no `key` is named: the provider needs none")
        return value
