"""Maps names to providers: classes registered in this process override installed ones."""

from __future__ import annotations

import difflib
import logging
import re
import threading
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from understudy.discovery import plugins
from understudy.discovery.distributions import InstalledProvider, look_around, normalize
from understudy.discovery.loader import build_installed, load_plugin, make_provider
from understudy.discovery.packages import KNOWN_PACKAGES, source_of
from understudy.errors import PluginError, UnknownProvider
from understudy.provider import LLMProvider

if TYPE_CHECKING:
    import pluggy

    from understudy.settings import Settings

logger = logging.getLogger("understudy")


class UnknownName(UnknownProvider, KeyError):
    """No provider has that name; a KeyError too, as a mapping raises."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show it quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDescription:
    """Where a name comes from, for people.

    Args:
        name: the provider's name.
        state: whether it can be asked for here.
        origin: where it comes from, or where it is available.
        is_ours: whether it is installed, and by this project's own package for that name.
    """

    name: str
    state: Literal["registered", "installed", "ambiguous", "not installed"]
    origin: str
    is_ours: bool = False


class ProviderRegistry(MutableMapping[str, "type[LLMProvider] | InstalledProvider"]):
    """The providers that can be asked for by name; listing them imports none of them.

    A class registered in this process overrides an installed provider of the same name.
    """

    def __init__(self) -> None:
        self._registered: dict[str, type[LLMProvider]] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> type[LLMProvider] | InstalledProvider:
        found = self._registered.get(name) or look_around().providers.get(name)
        if found is None:  # installed since, perhaps
            found = look_around(again=True).providers.get(name)
        if found is None:
            raise UnknownName(_explain_unknown("provider", name, sorted(self), KNOWN_PACKAGES))
        return found

    def __setitem__(self, name: str, provider: type[LLMProvider] | InstalledProvider) -> None:
        if not isinstance(provider, InstalledProvider) or provider != look_around().providers.get(name):
            self.register(name, provider)  # an installed one may be removed and restored

    def __delitem__(self, name: str) -> None:
        if name not in self._registered:
            raise KeyError(f"expected a name registered in this process, found {name!r}")
        del self._registered[name]

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in look_around().providers

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._registered, *look_around().providers]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"ProviderRegistry({list(self)})"

    def register(self, name: str, provider: Any) -> None:
        """Make a provider class selectable by name in this process.

        Args:
            name: what the route will call it; without spaces, colons and commas, which have a meaning there.
            provider: a class that inherits from LLMProvider. A parameter of its constructor that is named `settings`
                receives the Settings, one named `api_key` the value of NAME_API_KEY (the name in capitals, with _ for
                characters that a variable cannot have). No other parameter may be required.

        Raises:
            ValueError: the class does not inherit from LLMProvider, or the name cannot be used in a route.
        """
        if not (isinstance(provider, type) and issubclass(provider, LLMProvider)):
            raise ValueError("Must inherit from LLMProvider")
        if not isinstance(name, str) or not name or re.search(r"[\s:,]", name):
            raise ValueError(f"expected a name without spaces, colons and commas, found {name!r}")
        self._registered[name] = provider

    def build(self, name: str, settings: Settings) -> LLMProvider:
        """Make the provider of that name.

        Raises:
            PluginError: the name is unknown or ambiguous, or its plugin is broken or not trusted.
            ConfigurationError: the provider found a setting malformed, or lacks the key that its constructor takes.
        """
        provider = self[name]
        if isinstance(provider, InstalledProvider):
            return build_installed(provider, settings)
        self._tell_of_shadow(name)
        who = f"provider {name!r} (class {provider.__qualname__} of {provider.__module__}, registered in this process)"
        cure = f"make {provider.__qualname__}() work without arguments besides settings and api_key"
        return make_provider(who, lambda: provider(**plugins.read_arguments(provider, name, settings)), cure)

    def describe(self) -> tuple[ProviderDescription, ...]:
        """Return where each name comes from, without importing anything; what is not installed comes last."""
        here = [self._describe(name) for name in sorted(self)]
        missing = [
            ProviderDescription(name=name, state="not installed", origin=source_of(package))
            for name, package in sorted(KNOWN_PACKAGES.items())
            if name not in self
        ]
        return (*here, *missing)

    def _describe(self, name: str) -> ProviderDescription:
        provider = self[name]
        if not isinstance(provider, InstalledProvider):
            return ProviderDescription(name=name, state="registered", origin="registered in this process")
        claims = (provider, *provider.rivals)
        return ProviderDescription(
            name=name,
            state="ambiguous" if provider.rivals else "installed",
            origin=" and ".join(claim.origin for claim in claims),
            is_ours=not provider.rivals and normalize(provider.distribution) == KNOWN_PACKAGES.get(name),
        )

    def _tell_of_shadow(self, name: str) -> None:
        shadowed = look_around().providers.get(name)
        with self._lock:
            news = shadowed is not None and name not in self._told
            if news:
                self._told.add(name)
        if news:
            logger.warning("%s is registered in this process and overrides the %s", name, shadowed)


def _explain_unknown(kind: str, name: object, here: Collection[str], packages: Mapping[str, str]) -> str:
    text = f"expected the name of an installed {kind} ({', '.join(here) or 'there is none'}), found {name!r}; "
    known = {candidate.lower(): candidate for candidate in (*packages, *here)}
    near = difflib.get_close_matches(str(name).lower(), known, 1)
    if near:
        meant = known[near[0]]
        if meant in here:
            text += f"did you mean {meant!r}?"
        else:
            text += f"{packages[meant]} brings {meant!r} ({source_of(packages[meant])})"
    elif kind == "provider":
        text += "install the package that brings it, or register a class: LLMFactory.register_provider(name, cls)"
    else:
        text += "install the package that brings it"
    unreadable = look_around().unreadable
    if unreadable:
        text += f"; damaged, and therefore ignored: {', '.join(unreadable)}"
    return text


registry = ProviderRegistry()


def load_extensions(names: Sequence[object], settings: Settings | None = None) -> pluggy.PluginManager | None:
    """Load the extensions that are named, and no others.

    Args:
        names: entry-point names in the group understudy.extensions, or plugins themselves: modules or instances.
        settings: says which plugins are trusted; None reads the environment and the files.

    Returns:
        A manager with them in this order, for example to call `manager.hook.understudy_commands(app=app)`; None
        where none is named.

    Raises:
        PluginError: a name is unknown or ambiguous, or a plugin is broken or not trusted.
    """
    loaded = [_load_extension(name, settings) for name in ([names] if isinstance(names, str) else names)]
    return plugins.host(loaded) if loaded else None


def _load_extension(extension: object, settings: Settings | None) -> object:
    if not isinstance(extension, str):
        plugins.check(extension, f"extension {plugins.describe_object(extension)}", plugins.EXTENSION_HOOKS)
        return extension
    found = look_around().extensions.get(extension) or look_around(again=True).extensions.get(extension)
    if found is None:
        raise PluginError(_explain_unknown("extension", extension, sorted(look_around().extensions), {}))
    return load_plugin(found, settings)
