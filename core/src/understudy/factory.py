"""LLMFactory: settings, registry, policy and drivers put together."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypedDict, Unpack

from understudy import drivers
from understudy.engine import Target
from understudy.errors import AmbiguousProvider, BrokenPlugin, ConfigurationError, PluginError
from understudy.extensions import Extensions
from understudy.messages import NOTHING, Prompt, Request, Tool, read_prompt
from understudy.performance import Performance, Runtime
from understudy.plain import PlainProvider, UnconfiguredProvider
from understudy.policy import Policy, PolicyNumber
from understudy.provider import ChatProvider, LLMProvider
from understudy.registry import ProviderRegistry, load_extensions, registry
from understudy.response import LLMResponse, StreamEvent
from understudy.settings import Settings
from understudy.waiting import async_sleep, sleep

logger = logging.getLogger("understudy")
logger.addHandler(logging.NullHandler())

DEFAULT_PRIMARY = "gemini"  # the primary of the user's own configuration
RETRIES = PolicyNumber(5)
DELAY = PolicyNumber(5)
RUNTIME = Runtime(time.monotonic, sleep, async_sleep, random.random)


class CallOptions(TypedDict, total=False):
    """What a call may say besides prompt, temperature, max_tokens and retries; see Request for the meaning.

    `model` is asked of the primary only, since no other vendor has it; name a fallback's model in its route.
    `deadline` is in seconds for the whole call, `timeout` in seconds for one attempt.
    """

    system: str | None
    tools: Sequence[Tool]
    tool_choice: str
    output_schema: Mapping[str, Any] | None
    stop: Sequence[str]
    model: str | None
    timeout: float | None
    deadline: float | None
    options: Mapping[str, Mapping[str, Any]]


class LLMFactory:
    """Calls one LLM provider and, when that one cannot go on, lets another take the part, in the same call.

    Args:
        primary_provider: who is asked first: an entry-point name, a name with a model ("claude:MODEL"), or a
            provider object. None for LLM_PRIMARY_PROVIDER, then "gemini".
        fallback_providers: who takes the part, in order: a sequence of the same, or names with commas between. None
            for LLM_FALLBACK_PROVIDERS, then nobody.
        settings: keys, URLs and names that stand above the environment and `.env`; or a Settings.
        policy: the numbers of the decision procedure; Policy() is the `patient` preset.
        extensions: names or objects with hooks; None for LLM_EXTENSIONS.
        runtime: clock, sleep and chance, for tests; the real ones by default.

    Raises:
        PluginError: a name is unknown, ambiguous, or its plugin is broken.
        ConfigurationError: another setting of the factory's own is malformed. A provider whose key or URL is missing
            or malformed does not stop the others: it is skipped, with the reason in the record.
    """

    PROVIDER_REGISTRY: ClassVar[ProviderRegistry] = registry

    def __init__(
        self,
        primary_provider: str | LLMProvider | None = None,
        fallback_providers: str | Sequence[str | LLMProvider] | None = None,
        *,
        settings: Settings | Mapping[str, str] | None = None,
        policy: Policy | None = None,
        extensions: Sequence[Any] | None = None,
        runtime: Runtime = RUNTIME,
    ) -> None:
        self._settings = settings if isinstance(settings, Settings) else Settings(settings)
        self._policy = policy or Policy()
        self._runtime = runtime
        route = _read_route(primary_provider, fallback_providers, self._settings)
        built: dict[str, ChatProvider] = {}
        seats = [self._cast(stop, built) for stop in route]
        self._targets = tuple(target for target, _ in seats)
        self._providers = tuple(provider for _, provider in seats)
        named = self._settings.names("LLM_EXTENSIONS") if extensions is None else extensions
        manager = load_extensions(named, self._settings) if named else None
        self._extensions = None if manager is None else Extensions(manager)
        logger.info("LLMFactory initialized with primary provider: %s", self._targets[0].label)

    def __repr__(self) -> str:
        return f"LLMFactory({' -> '.join(target.label for target in self._targets)})"

    @classmethod
    def register_provider(cls, name: str, provider_class: type[LLMProvider]) -> None:
        """Make a provider class selectable by name in this process; it stands above an installed one of that name.

        Raises:
            ValueError: the class does not inherit from LLMProvider, or the name could not stand in a route.
        """
        cls.PROVIDER_REGISTRY.register(name, provider_class)

    def generate_content(
        self,
        prompt: Prompt,
        temperature: float | None = 0.0,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> LLMResponse:
        """Answer a prompt, by the primary or whoever takes its part.

        Args:
            prompt: text, or a conversation as a sequence of messages.
            temperature: 0.0 to 2.0; None leaves it to the model.
            max_tokens: most tokens of answer, at least 1; None leaves it to the provider.
            max_retries: retries of one target after transient failures, 0 or more, for this call only; by default
                the policy's, which is 5 in the preset `patient`.
            retry_delay: seconds before the first retry, doubled for each further one up to 60, for this call only;
                by default the policy's, which is 5 in the preset `patient`.
            options: see CallOptions.

        Returns:
            The answer; or, when nobody could answer, a response with success False that names everybody's failure.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of its range.
        """
        return drivers.run(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    async def agenerate_content(
        self,
        prompt: Prompt,
        temperature: float | None = 0.0,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> LLMResponse:
        """Answer a prompt as `generate_content` does, on the running event loop."""
        return await drivers.arun(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    def stream_content(
        self,
        prompt: Prompt,
        temperature: float | None = 0.0,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> Iterator[StreamEvent]:
        """Answer a prompt piece by piece: TextDelta and its like, then one Finish with the whole response.

        Until the first piece another provider can take the part unseen. When nobody could answer, the only event is
        a Finish whose response has success False.

        Raises:
            StreamInterrupted: while iterating, the stream broke off after its first piece; `partial` holds the text.
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of its range.
        """
        return drivers.stream(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    def astream_content(
        self,
        prompt: Prompt,
        temperature: float | None = 0.0,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[StreamEvent]:
        """Answer a prompt piece by piece as `stream_content` does, on the running event loop."""
        return drivers.astream(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    def get_provider_status(self) -> dict[str, Any]:
        """Tell who is on the route and who can be asked.

        Returns:
            {"primary": {"name", "available"}, "fallbacks": [the same for each], "current": the name of the first
            one that is available, which is who the next call asks first; the primary's where none is}.
        """
        seats = [
            {"name": target.label, "available": _is_available(provider)}
            for target, provider in zip(self._targets, self._providers, strict=True)
        ]
        current = next((seat["name"] for seat in seats if seat["available"]), seats[0]["name"])
        return {"primary": seats[0], "fallbacks": seats[1:], "current": current}

    @property
    def route(self) -> tuple[tuple[Target, ChatProvider], ...]:
        """The targets in order, each with its provider."""
        return tuple(zip(self._targets, self._providers, strict=True))

    def close(self) -> None:
        """Close every provider's connections; the factory can be used again afterwards."""
        for provider in dict.fromkeys(self._providers):
            provider.close()

    async def aclose(self) -> None:
        """Close every provider's connections, those of the running event loop included."""
        for provider in dict.fromkeys(self._providers):
            await provider.aclose()

    def __enter__(self) -> LLMFactory:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def __aenter__(self) -> LLMFactory:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def _perform(
        self,
        prompt: Prompt,
        temperature: float | None,
        max_tokens: int | None,
        max_retries: int,
        retry_delay: float,
        options: CallOptions,
    ) -> Performance:
        if options:
            unknown = sorted(set(options) - CallOptions.__annotations__.keys())
            if unknown:
                known = ", ".join(CallOptions.__annotations__)
                raise TypeError(f"expected options among {known}, found {', '.join(unknown)}")
        system, messages = read_prompt(prompt)
        if given := options.get("system"):
            system = given if system is None else f"{given}\n\n{system}"
        request = Request(
            messages=messages,
            system=system,
            tools=tuple(options.get("tools") or ()),
            tool_choice=options.get("tool_choice", "auto"),
            output_schema=options.get("output_schema"),
            stop=_read_stop(options.get("stop") or ()),
            model=options.get("model"),
            temperature=temperature,
            max_tokens=max_tokens,
            options=options.get("options", NOTHING),
        )
        policy = self._policy_for(max_retries, retry_delay, options)
        return Performance(request, self._targets, self._providers, policy, self._runtime, self._extensions)

    def _policy_for(self, max_retries: int, retry_delay: float, options: CallOptions) -> Policy:
        changes: dict[str, Any] = {}
        if type(max_retries) is not PolicyNumber:
            changes["max_retries"] = max_retries
        if type(retry_delay) is not PolicyNumber:
            changes["retry_delay"] = retry_delay
        if options.get("timeout") is not None:
            changes["attempt_timeout"] = options["timeout"]
        if options.get("deadline") is not None:
            changes["deadline"] = options["deadline"]
        return replace(self._policy, **changes) if changes else self._policy

    def _cast(self, stop: str | LLMProvider, built: dict[str, ChatProvider]) -> tuple[Target, ChatProvider]:
        """Find the provider of one stop on the route, the same object for every stop that names it."""
        if isinstance(stop, LLMProvider):
            return Target(stop.get_provider_name(), stop.get_provider_name()), _in_full(stop)
        name, _, model = stop.partition(":")
        if name not in built:
            built[name] = self._build(name)
        return Target(stop, name, model or None), built[name]

    def _build(self, name: str) -> ChatProvider:
        table = self._settings.tables.get(name)
        if table is not None and table.uses != name and name in self.PROVIDER_REGISTRY:
            raise AmbiguousProvider(
                f"{table.origin}: expected a name that no provider has, found that of one; choose another name"
            )
        try:
            uses = table.uses if table else name
            return _in_full(self.PROVIDER_REGISTRY.build(uses, self._settings.for_provider(name)))
        except PluginError:
            raise
        except ConfigurationError as error:
            logger.warning("%s cannot be used: %s", name, error)
            return UnconfiguredProvider(name, str(error))


def _in_full(provider: LLMProvider) -> ChatProvider:
    if not isinstance(provider, ChatProvider):
        return PlainProvider(provider)
    if provider.spec_version > ChatProvider.spec_version:
        raise BrokenPlugin(
            f"{provider.get_provider_name()}: expected a provider for version {ChatProvider.spec_version} of the "
            f"contract or older, found version {provider.spec_version}; upgrade the package understudy"
        )
    return provider


def _is_available(provider: ChatProvider) -> bool:
    try:
        return bool(provider.is_available())
    except Exception as error:
        logger.warning("%s: is_available() raised %s", provider.get_provider_name(), type(error).__name__)
        return False


def _read_stop(stop: Sequence[str]) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop)


def _read_route(
    primary: str | LLMProvider | None,
    fallbacks: str | Sequence[str | LLMProvider] | None,
    settings: Settings,
) -> list[str | LLMProvider]:
    if primary is None:
        primary = settings.get("LLM_PRIMARY_PROVIDER", default=DEFAULT_PRIMARY)
    if fallbacks is None:
        fallbacks = settings.names("LLM_FALLBACK_PROVIDERS")
    elif isinstance(fallbacks, str):
        fallbacks = fallbacks.split(",")
    elif isinstance(fallbacks, LLMProvider):
        fallbacks = (fallbacks,)
    route: list[str | LLMProvider] = []
    for stop in (primary, *fallbacks):
        if isinstance(stop, str):
            stop = stop.strip()
            if not stop.partition(":")[0]:
                raise ConfigurationError(f"expected the name of a provider in the route, found {stop!r}")
            if stop in route:
                logger.info("%s is named twice in the route: it is asked once", stop)
                continue
        elif not isinstance(stop, LLMProvider):
            raise TypeError(f"expected the name of a provider or an LLMProvider, found {stop!r}")
        route.append(stop)
    return route
