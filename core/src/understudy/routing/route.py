"""Which targets are on the route: names and objects turned into targets with their providers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from understudy.discovery.registry import ProviderRegistry
from understudy.errors import AmbiguousProvider, BrokenPlugin, ConfigurationError, PluginError
from understudy.files.config_file import ProviderTable
from understudy.provider import ChatProvider, LLMProvider, Route
from understudy.routing.adapters import PlainProvider, UnconfiguredProvider
from understudy.settings import Settings
from understudy.target import Target
from understudy.usage import UNPAID

logger = logging.getLogger("understudy")

DEFAULT_PRIMARY = "gemini"  # the primary if nothing is configured


def read_route(
    primary: str | LLMProvider | None,
    fallbacks: str | Sequence[str | LLMProvider] | None,
    settings: Settings,
) -> list[str | LLMProvider]:
    """Return the stops on the route, each once, from the arguments or the settings.

    Raises:
        ConfigurationError: a stop has no name.
        TypeError: a stop is neither a name nor a provider.
    """
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


def find_route(stops: Sequence[str | LLMProvider], settings: Settings, registry: ProviderRegistry) -> Route:
    """Find the provider of each stop on the route, the same object for every stop that names it.

    Raises:
        PluginError: a name is unknown, ambiguous, or its plugin is broken.
    """
    built: dict[str, ChatProvider] = {}
    targets, providers = [], []
    for position, stop in enumerate(stops):
        if isinstance(stop, LLMProvider):
            name = stop.get_provider_name()
            targets.append(Target(name, name, position=position))
            providers.append(_in_full(stop))
            continue
        name, _, model = stop.partition(":")
        if name not in built:
            built[name] = _build(name, settings, registry)
        paid = price_list_of(name, settings.tables.get(name))
        targets.append(Target(stop, name, model or None, position, "" if paid == name else paid))
        providers.append(built[name])
    return Route(tuple(targets), tuple(providers))


def _build(name: str, settings: Settings, registry: ProviderRegistry) -> ChatProvider:
    table = settings.tables.get(name)
    if table is not None and table.uses != name and name in registry:
        raise AmbiguousProvider(
            f"{table.origin}: expected a name that no provider has, found that of one; choose another name"
        )
    try:
        uses = table.uses if table else name
        return _in_full(registry.build(uses, settings.for_provider(name)))
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


def price_list_of(name: str, table: ProviderTable | None) -> str:
    """Return the name under which to look up a provider's prices, given its table in `understudy.toml`, if any.

    Args:
        name: what the route calls it.
        table: its table, where it has one.

    Returns:
        The name of the provider that does the work; where the table gives another address, that address, since
        another vendor is paid there.
    """
    if table is None:
        return name
    return table.uses if table.base_url is None or table.uses in UNPAID else table.base_url
