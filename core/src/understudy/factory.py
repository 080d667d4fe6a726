"""LLMFactory: puts settings, registry, policy and drivers together."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from understudy.discovery.registry import ProviderRegistry, load_extensions, registry
from understudy.execution import sync_driver
from understudy.execution.arguments import DELAY, RETRIES, CallOptions, Overrides, read_policy, read_request
from understudy.execution.call import Execution, Runtime
from understudy.execution.clock import async_sleep, sleep
from understudy.execution.extensions import Extensions
from understudy.health.admission import Admission
from understudy.health.in_memory import InMemoryHealthStore
from understudy.health.store import HealthStore
from understudy.limits import Limits
from understudy.messages import DEFAULT_TEMPERATURE, Prompt
from understudy.policy import Policy
from understudy.provider import ChatProvider, LLMProvider
from understudy.response import LLMResponse, StreamEvent
from understudy.routing.order import Ordering
from understudy.routing.route import find_route, read_route
from understudy.settings import Settings
from understudy.target import Target

if TYPE_CHECKING:
    from understudy.explain.plan import Plan

logger = logging.getLogger("understudy")
logger.addHandler(logging.NullHandler())

RUNTIME = Runtime(time.monotonic, sleep, async_sleep, random.random)


class LLMFactory:
    """Calls one LLM provider and, when that one cannot go on, lets another take over, in the same call.

    Args:
        primary_provider: the one that is asked first: an entry-point name, a name with a model ("claude:MODEL"), or a
            provider object. None for LLM_PRIMARY_PROVIDER, then "gemini".
        fallback_providers: the ones that take over, in order: a sequence of the same, or names separated by commas.
            None for LLM_FALLBACK_PROVIDERS, then nobody.
        settings: keys, URLs and names that override the environment and `.env`; or a Settings.
        policy: the numbers of the decision procedure: a Policy, or the name of a preset, "patient" or "eager". None
            for LLM_POLICY, then "patient".
        extensions: names or objects with hooks; None for LLM_EXTENSIONS.
        limits: what a target may be asked for, by route label or provider name; None for those in `understudy.toml`.
        health_store: where the targets' health is kept. None for an extension's, else one in memory that only this
            factory uses; give the same store to several factories to let them share what they learn.
        runtime: clock, sleep and randomness, for tests; the real ones by default.

    Raises:
        PluginError: a name is unknown, ambiguous, or its plugin is broken.
        ConfigurationError: another of the factory's own settings is malformed. A provider whose key or URL is missing
            or malformed does not stop the others: it is skipped, with the reason in the record.
    """

    PROVIDER_REGISTRY: ClassVar[ProviderRegistry] = registry

    def __init__(
        self,
        primary_provider: str | LLMProvider | None = None,
        fallback_providers: str | Sequence[str | LLMProvider] | None = None,
        *,
        settings: Settings | Mapping[str, str] | None = None,
        policy: Policy | str | None = None,
        extensions: Sequence[Any] | None = None,
        limits: Mapping[str, Limits] | None = None,
        health_store: HealthStore | None = None,
        runtime: Runtime = RUNTIME,
    ) -> None:
        self._settings = settings if isinstance(settings, Settings) else Settings(settings)
        self._policy = read_policy(policy, self._settings)
        self._runtime = runtime
        stops = read_route(primary_provider, fallback_providers, self._settings)
        self._route = find_route(stops, self._settings, self.PROVIDER_REGISTRY)
        named = self._settings.names("LLM_EXTENSIONS") if extensions is None else extensions
        manager = load_extensions(named, self._settings) if named else None
        self._extensions = None if manager is None else Extensions(manager)
        if health_store is None and self._extensions is not None:
            health_store = self._extensions.health_store(self._settings)
        self._admission = Admission(
            self._policy,
            self._route,
            self._settings.limits if limits is None else _check_limits(limits),
            _guard(health_store, runtime),
            runtime.clock,
        )
        self._ordering = Ordering(self._route, self._admission, runtime.random)
        self._ordering.check(self._policy)
        self._overrides = Overrides(self._policy, self._ordering.check)
        logger.info("LLMFactory initialized with primary provider: %s", self._route.targets[0].label)

    def __repr__(self) -> str:
        return f"LLMFactory({' -> '.join(target.label for target in self._route.targets)})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError(
            f"{self!r} is not pickled or copied, as it holds keys and connections: make one where it is used"
        )

    @classmethod
    def register_provider(cls, name: str, provider_class: type[LLMProvider]) -> None:
        """Make a provider class selectable by name in this process; it overrides an installed one of that name.

        Its constructor may have a parameter `settings`, which receives the Settings, and one `api_key`, which receives
        the value of NAME_API_KEY (the name in capitals). If that is missing, the provider is skipped.

        Raises:
            ValueError: the class does not inherit from LLMProvider, or the name cannot be used in a route.
        """
        cls.PROVIDER_REGISTRY.register(name, provider_class)

    def generate_content(
        self,
        prompt: Prompt,
        temperature: float | None = DEFAULT_TEMPERATURE,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> LLMResponse:
        """Answer a prompt, by the primary or a fallback.

        Args:
            prompt: text, or a conversation as a sequence of messages.
            temperature: 0.0 to 2.0; None leaves it to the model. A temperature that the model does not support is left
                out, with a warning unless it is the default.
            max_tokens: most tokens of answer, at least 1; None leaves it to the provider.
            max_retries: retries of one target after transient failures, 0 or more, for this call only; by default
                the policy's, which is 5 in the preset `patient`.
            retry_delay: seconds before the first retry, doubled for each further one up to 60, for this call only;
                by default the policy's, which is 5 in the preset `patient`.
            options: see CallOptions.

        Returns:
            The answer; or, when no target could answer, a response with success False that names each one's failure.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of its range.
        """
        return sync_driver.run(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    async def agenerate_content(
        self,
        prompt: Prompt,
        temperature: float | None = DEFAULT_TEMPERATURE,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> LLMResponse:
        """Answer a prompt as `generate_content` does, on the running event loop."""
        from understudy.execution import async_driver  # imports asyncio

        return await async_driver.run(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    def stream_content(
        self,
        prompt: Prompt,
        temperature: float | None = DEFAULT_TEMPERATURE,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> Iterator[StreamEvent]:
        """Answer a prompt piece by piece: TextDelta and its like, then one Finish with the whole response.

        Until the first piece, another provider can take over unnoticed. When no target could answer, the only event is
        a Finish whose response has success False.

        Raises:
            StreamInterrupted: while iterating, the stream broke off after its first piece; `partial` holds the text.
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of its range.
        """
        return sync_driver.stream(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    def astream_content(
        self,
        prompt: Prompt,
        temperature: float | None = DEFAULT_TEMPERATURE,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[StreamEvent]:
        """Answer a prompt piece by piece as `stream_content` does, on the running event loop."""
        from understudy.execution import async_driver  # imports asyncio

        return async_driver.stream(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    def plan(
        self,
        prompt: Prompt = "Hello",
        temperature: float | None = DEFAULT_TEMPERATURE,
        max_tokens: int | None = 1024,
        max_retries: int = RETRIES,
        retry_delay: float = DELAY,
        **options: Unpack[CallOptions],
    ) -> Plan:
        """Return what `generate_content` would do now: who would be asked, in which order, and why. Nothing is sent.

        Nothing is reserved either: the health store is only read. Not known in advance are: how many calls are under
        way where `Limits.concurrent` counts them, what extensions make of the request, and, if targets are drawn
        at random, the next draw.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of its range.
        """
        from understudy.explain.plan import make_plan  # only people need the words

        return make_plan(self._perform(prompt, temperature, max_tokens, max_retries, retry_delay, options))

    def get_provider_status(self) -> dict[str, Any]:
        """Return the providers on the route, whether each can be asked, and their health.

        Returns:
            {"primary": {"name", "available", "health"}, "fallbacks": [the same for each], "current": the name of the
            provider that gave this factory's latest answer; before any, the first that is available and not held back
            by its circuit breaker, else the first that is available, else None}. "health" is {"state":
            "closed", "open",
            "cooling" or "half-open", "free_in": seconds until it may be asked, "until": that moment in UTC or None,
            "failures": within the breaker's window, "latency": seconds to a whole answer, a moving average,
            "latency_p95", "first_token": seconds to the first piece of a stream, "first_token_p95", "failing": from
            0.0 to 1.0, "left": of each of its limits}.
        """
        from understudy.explain.status import status_of

        targets = self._route.targets
        health = [self._admission.look(target.position) for target in targets]
        labels = [target.label for target in targets]
        return status_of(labels, self._route.providers, health, self._admission.latest)

    def warm_up(self) -> None:
        """Import what the first call needs, to save it time; for servers, at startup. Opens and raises nothing."""
        for target in self._route.targets:
            self._admission.make_ready(target.position)  # the status and the calls report what goes wrong

    @property
    def route(self) -> tuple[tuple[Target, ChatProvider], ...]:
        """The targets in order, each with its provider."""
        return tuple(self._route)

    def close(self) -> None:
        """Close every provider's connections; the factory can be used again afterwards."""
        for provider in dict.fromkeys(self._route.providers):
            provider.close()

    async def aclose(self) -> None:
        """Close every provider's connections, those of the running event loop included."""
        for provider in dict.fromkeys(self._route.providers):
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
    ) -> Execution:
        policy = self._overrides.policy_for(max_retries, retry_delay, options)
        request = read_request(prompt, temperature, max_tokens, policy.attempt_timeout, options)
        return Execution(
            request,
            self._route,
            policy,
            self._runtime,
            self._extensions,
            self._admission,
            self._ordering,
            options.get("validator") if options else None,
        )


def _guard(store: HealthStore | None, runtime: Runtime) -> HealthStore:
    if store is not None and (not isinstance(store, HealthStore) or isinstance(store, type)):
        raise TypeError(f"expected health_store with take, give, look and blocks, found {store!r}")
    if store is not None and not store.blocks:
        return store
    local = InMemoryHealthStore(runtime.clock, runtime.random)
    if store is None:
        return local
    from understudy.health.shared import GuardedStore  # needs threads

    return GuardedStore(store, local, runtime.clock)


def _check_limits(limits: Mapping[str, Limits]) -> Mapping[str, Limits]:
    for name, each in limits.items():
        if not isinstance(each, Limits):
            raise TypeError(f"expected limits of {name} as Limits(...), found {each!r}")
    return dict(limits)
