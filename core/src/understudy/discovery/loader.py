"""Imports installed plugins on demand, if they are trusted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from understudy.discovery import plugins
from understudy.discovery.distributions import InstalledPlugin, InstalledProvider
from understudy.errors import AmbiguousProvider, BrokenPlugin, ConfigurationError
from understudy.provider import LLMProvider

if TYPE_CHECKING:
    from understudy.settings import Settings


def load_plugin(installed: InstalledPlugin, settings: Settings | None = None) -> object:
    """Import a plugin on first use, and check its hooks.

    Args:
        installed: the plugin.
        settings: says which plugins are trusted; None reads the environment and the files.

    Raises:
        UntrustedPlugin: it is not to be trusted, by LLM_TRUSTED_PLUGINS or `understudy.lock`; nothing of it ran.
        AmbiguousProvider: another distribution claims the same name.
        BrokenPlugin: it cannot be imported, or its hooks are invalid.
    """
    if settings is None:
        from understudy.settings import Settings

        settings = Settings()
    if settings.lock_file or settings.get("LLM_TRUSTED_PLUGINS"):
        from understudy.discovery import trust

        return _load(trust.admit(installed, settings))
    return _load(installed)


def build_installed(installed: InstalledProvider, settings: Settings) -> LLMProvider:
    """Make the provider that an installed distribution offers.

    Raises:
        PluginError: the plugin cannot be loaded, or made something else.
        ConfigurationError: it found a setting malformed.
    """
    hook = plugins.host([load_plugin(installed, settings)]).hook
    cure = f"fix what it reports, or tell the authors of {installed.distribution}"
    return make_provider(str(installed), lambda: hook.understudy_provider(settings=settings), cure)


@cache
def _load(installed: InstalledPlugin) -> object:
    if installed.rivals:
        claims = [f"{claim.origin} ({claim.entry_point})" for claim in (installed, *installed.rivals)]
        raise AmbiguousProvider(
            f"expected one distribution with the {installed.kind} {installed.name!r}, found {' and '.join(claims)}; "
            f"uninstall all but one (pip uninstall {installed.distribution})"
            + (
                ", or register the class you want: LLMFactory.register_provider(name, cls)"
                if installed.kind == "provider"
                else ""
            )
        )
    plugin = plugins.import_plugin(str(installed), installed.entry_point, installed.distribution)
    hooks = plugins.PROVIDER_HOOKS if isinstance(installed, InstalledProvider) else plugins.EXTENSION_HOOKS
    plugins.check(plugin, str(installed), hooks)
    return plugin


def make_provider(who: str, make: Callable[[], object], cure: str) -> LLMProvider:
    """Make a provider, and check that it is one.

    Args:
        who: how messages name it.
        make: makes it.
        cure: how to fix it when that raises something unexpected.

    Raises:
        BrokenPlugin: making it raised something, or it is not an LLMProvider.
        ConfigurationError: it found a setting malformed.
    """
    try:
        made = make()
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        found = plugins.describe_exception(error)
        raise BrokenPlugin(f"{who}: expected it to make a provider, found {found}; {cure}") from error
    if not isinstance(made, LLMProvider):
        raise BrokenPlugin(
            f"{who}: expected an instance of LLMProvider, found {plugins.describe_object(made)}; return an object of "
            "a class that inherits from LLMProvider or ChatProvider"
        )
    return made
