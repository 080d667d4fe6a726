"""Plugin objects: imported by name, checked, and registered with a PluginManager.

The only module that touches pluggy.PluginManager. pluggy silently ignores most mistakes (a misspelt hook is
never called, an argument with a default never passed); here each is a BrokenPlugin that says how to fix it.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pluggy

from understudy import hookspecs
from understudy.errors import BrokenPlugin, ConfigurationError, UntrustedPlugin
from understudy.files.config_file import key_variable
from understudy.masking import conceal

if TYPE_CHECKING:
    from understudy.settings import Settings

# Each hook's arguments, by the hook's name.
HOOKS = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if hasattr(function, "understudy_spec")
}
PROVIDER_HOOKS = frozenset(["understudy_provider"])
EXTENSION_HOOKS = frozenset(HOOKS) - PROVIDER_HOOKS
_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def import_plugin(who: str, entry_point: str, distribution: str) -> object:
    """Import what an entry point names: "module" or "module:attribute.attribute".

    Raises:
        BrokenPlugin: it cannot be imported, or has no such attribute.
        UntrustedPlugin: one of its files has changed since it was checked.
    """
    module, _, path = (part.strip() for part in entry_point.partition("[")[0].partition(":"))
    correct = f"correct the entry point in the pyproject.toml of {distribution}"
    if not all(name.isidentifier() for name in module.split(".")):
        raise BrokenPlugin(f"{who}: expected an entry point like 'package.module', found {entry_point!r}; {correct}")
    try:
        found: object = importlib.import_module(module)
    except UntrustedPlugin:
        raise
    except ImportError as error:
        raise BrokenPlugin(
            f"{who}: expected to import {module}, found {describe_exception(error)}; install {distribution} again, "
            "from where it came, with all that it needs (`pip check` lists what is missing)"
        ) from error
    except (Exception, SystemExit) as error:  # a keyboard interrupt propagates
        raise BrokenPlugin(
            f"{who}: expected to import {module}, found {describe_exception(error)}; "
            f"upgrade {distribution}, or report this to its authors"
        ) from error
    for attribute in filter(None, path.split(".")):
        try:
            found = getattr(found, attribute)
        except Exception as error:
            raise BrokenPlugin(
                f"{who}: expected {path} in {module}, found nothing called {attribute!r}; {correct}"
            ) from error
    return found


def describe_exception(error: BaseException) -> str:
    """Name an exception in one line of at most 300 characters, with keys masked."""
    text = " ".join(conceal(str(error)).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def describe_object(found: object) -> str:
    """Name an object by its kind, without running its repr."""
    if inspect.isclass(found):
        return f"the class {found.__qualname__}"
    if inspect.ismodule(found):
        return f"the module {found.__name__}"
    if inspect.isroutine(found):
        return f"the function {getattr(found, '__name__', 'without a name')}"
    return "None" if found is None else f"an instance of {type(found).__qualname__}"


def check(plugin: object, who: str, hooks: frozenset[str]) -> None:
    """Make sure that a plugin will be called as its author meant.

    Args:
        plugin: the module or instance.
        who: how messages name it.
        hooks: it must implement at least one of these: PROVIDER_HOOKS or EXTENSION_HOOKS.

    Raises:
        BrokenPlugin: it is a class or a function, implements none of these hooks, or one of its hooks is misspelt,
            unmarked, or of a form that pluggy would not call.
    """
    if plugin is None or inspect.isclass(plugin) or inspect.isroutine(plugin):
        raise BrokenPlugin(
            f"{who}: expected a module or an instance that has the hooks, found {describe_object(plugin)}; name the "
            "module that holds the function marked with @hookimpl (without a colon), or an instance"
        )
    trial = pluggy.PluginManager("understudy")  # without the hookspecs: registering then never fails on them
    try:
        trial.register(plugin, "plugin")
        hash(plugin)
    except Exception as error:
        raise BrokenPlugin(
            f"{who}: expected a module or an ordinary instance, found {describe_object(plugin)} that cannot be "
            f"registered ({describe_exception(error)}); use a module"
        ) from error
    implemented = {caller.name: caller.get_hookimpls() for caller in trial.get_hookcallers(plugin) or ()}
    for name, implementations in implemented.items():
        for implementation in implementations:
            _check_hook(name, implementation, who, unimplemented=set(HOOKS) - implemented.keys())
    for name in HOOKS.keys() - implemented.keys():
        _check_unmarked(name, inspect.getattr_static(plugin, name, None), who)
    if not hooks & implemented.keys():
        found = ", ".join(sorted(implemented)) or "no hook at all"
        raise BrokenPlugin(
            f"{who}: expected {' or '.join(sorted(hooks))} in {describe_object(plugin)}, found {found}; "
            + _advise(hooks, implemented)
        )
    try:
        host([plugin])
    except pluggy.PluginValidationError as error:
        raise BrokenPlugin(
            f"{who}: expected hooks that pluggy accepts, found {describe_exception(error)}; correct the function"
        ) from error


def read_arguments(cls: type, name: str, settings: Settings) -> dict[str, Any]:
    """Return what the constructor of a registered class is called with: what it takes of `settings` and `api_key`.

    Args:
        cls: the class.
        name: the provider's name: `api_key` is the value of NAME_API_KEY, or of the variable that its table names.
        settings: as the provider sees them.

    Raises:
        ConfigurationError: `api_key` has no default, and the variable is not set or malformed.
    """
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):  # one that Python cannot look into: calling it says what is wrong
        return {}
    named = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    required = {one.name for one in parameters if one.default is one.empty and one.kind not in _STARRED}
    arguments: dict[str, Any] = {"settings": settings} if "settings" in named else {}
    if "api_key" in named:
        variable = key_variable(name)
        key = settings.api_key(variable)
        if key is not None or not settings.needs_key:
            arguments["api_key"] = key.reveal() if key is not None else ""
        elif required - {"settings"} == {"api_key"}:  # with others, calling it says what is wrong
            raise ConfigurationError(settings.missing(variable))
    return arguments


def _check_hook(name: str, implementation: Any, who: str, unimplemented: set[str]) -> None:
    """Check one function marked with our @hookimpl: is there such a hook, and does pluggy call it in full?"""
    if name not in HOOKS:
        near = difflib.get_close_matches(name, unimplemented, 1, 0.8)
        if near or not implementation.optionalhook:  # an optional one may be a hook of a newer version
            raise BrokenPlugin(
                f"{who}: expected hooks among {', '.join(HOOKS)}, found {name} marked with @hookimpl; "
                + (f"did you mean {near[0]}?" if near else "remove the decorator, or upgrade the package understudy")
            )
        return
    function: Callable[..., object] = implementation.function
    form = _find_uncallable_form(function, implementation.wrapper or implementation.hookwrapper)
    if form:
        raise BrokenPlugin(f"{who}: expected {name} as a plain function, found {form}; write it with `def` and return")
    for parameter in inspect.signature(function).parameters.values():
        plain = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if parameter.name not in HOOKS[name]:
            fault = f"{parameter.name!r}"
        elif not plain or parameter.default is not parameter.empty:
            fault = f"'{parameter}', which pluggy would not pass"
        else:
            continue
        raise BrokenPlugin(
            f"{who}: expected {name} to take arguments among ({', '.join(HOOKS[name])}), found {fault}; "
            "use these names, without defaults and not as keyword-only parameters"
        )


def _find_uncallable_form(function: Callable[..., object], wrapper: bool) -> str | None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "an `async def`, which nobody would await"
    if inspect.isgeneratorfunction(function) and not wrapper:
        return "one with `yield`, which would never run"
    return None


def _check_unmarked(name: str, found: object, who: str) -> None:
    """Check that a function with the name of a hook, but without our marker, was not meant to be a hook."""
    if not callable(found) and not isinstance(found, classmethod):
        return
    marks = getattr(getattr(found, "__func__", found), "__dict__", {})
    others = [mark.removesuffix("_impl") for mark in marks if mark.endswith("_impl")]
    if others:
        how = f"marked for the project {others[0]!r}"
    else:
        how = "marked with @hookspec" if "understudy_spec" in marks else "without @hookimpl"
    raise BrokenPlugin(
        f"{who}: expected {name} to be marked as a hook of ours, found it {how}, so that it would never be called; "
        "write `from understudy import hookimpl` and `@hookimpl` above it"
    )


def _advise(hooks: frozenset[str], implemented: Iterable[str]) -> str:
    elsewhere = sorted(HOOKS.keys() & set(implemented) - hooks)
    if elsewhere and hooks is EXTENSION_HOOKS:
        return f"{elsewhere[0]} makes it a provider: name it in the group {hookspecs.PROVIDER_GROUP}"
    if elsewhere:
        return f"{elsewhere[0]} makes it an extension: name it in the group {hookspecs.EXTENSION_GROUP}"
    return "see the docstring of understudy.hookspecs for a whole plugin to copy"


def host(plugins: Iterable[object]) -> pluggy.PluginManager:
    """Register checked plugins with a PluginManager, in this order; skip one that is already registered."""
    manager = pluggy.PluginManager("understudy")
    manager.add_hookspecs(hookspecs)
    for number, plugin in enumerate(plugins):
        if not manager.is_registered(plugin):
            manager.register(plugin, f"{getattr(plugin, '__name__', type(plugin).__qualname__)} ({number})")
    return manager
