"""Extensions run only where they are named, and are looked over like providers."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import LLMFactory, Request, hookimpl
from understudy.discovery.registry import load_extensions
from understudy.errors import AmbiguousProvider, BrokenPlugin, PluginError

if TYPE_CHECKING:
    from conftest import Site

LISTENER = """
from understudy import hookimpl

heard = []

@hookimpl
def understudy_event(event):
    heard.append((__name__, event))

@hookimpl
def understudy_commands(app):
    app.commands.append(__name__)
"""


def install(site: Site, *names: str) -> None:
    for name in names:
        module = f"understudy_{name}"
        site.install(f"understudy-{name}", extensions={name: module}, modules={module: LISTENER})


def test_none_is_loaded_where_none_is_named(site: Site) -> None:
    install(site, "log")
    assert load_extensions(()) is None
    assert "understudy_log" not in sys.modules


def test_those_named_are_loaded_in_their_order_and_no_others(site: Site) -> None:
    install(site, "log", "trace", "count")
    manager = load_extensions(["trace", "log"])
    assert manager is not None
    plugins = [getattr(plugin, "__name__", "") for _, plugin in manager.list_name_plugin()]
    assert plugins == ["understudy_trace", "understudy_log"]
    assert "understudy_count" not in sys.modules


def test_the_command_line_can_have_its_commands_added(site: Site) -> None:
    install(site, "log")
    manager = load_extensions(["log"])
    assert manager is not None
    app = SimpleNamespace(commands=[])
    manager.hook.understudy_commands(app=app)
    assert app.commands == ["understudy_log"]


def test_the_same_one_named_twice_runs_once(site: Site) -> None:
    install(site, "log")
    site.install("understudy-other", extensions={"alias": "understudy_log"})
    manager = load_extensions(["log", "log", "alias"])
    assert manager is not None
    manager.hook.understudy_event(event="something")
    assert len(sys.modules["understudy_log"].heard) == 1


class Shout:
    @hookimpl
    def understudy_prepare_request(self, request: Request) -> Request:
        return request


def test_objects_are_extensions_too() -> None:
    first, second = Shout(), Shout()
    manager = load_extensions([first, second])
    assert manager is not None
    assert [plugin for _, plugin in manager.list_name_plugin()] == [first, second]


@pytest.mark.parametrize(
    ("wrong", "facts"),
    [
        (Shout, ["found the class Shout", "or an instance"]),
        (None, ["found None"]),
        (print, ["found the function print"]),
        (SimpleNamespace(), ["unhashable"]),
        (sys, ["extension the module sys: ", "understudy_check_response or ", "found no hook at all"]),
    ],
)
def test_an_object_that_is_no_extension_is_named(wrong: object, facts: list[str]) -> None:
    with pytest.raises(BrokenPlugin) as caught:
        load_extensions([wrong])
    assert [fact for fact in facts if fact not in str(caught.value)] == []


BROKEN: list[tuple[str, list[str]]] = [
    ("@hookimpl\ndef understudy_provider(settings): ...", ["makes it a provider", "understudy.providers"]),
    ("@hookimpl\ndef understudy_evnt(event): ...", ["did you mean understudy_event?"]),
    ("@hookimpl(optionalhook=True)\ndef understudy_evnt(event): ...", ["did you mean understudy_event?"]),
    ("def understudy_event(event): ...", ["found it without @hookimpl"]),
    ("@hookimpl\nasync def understudy_event(event): ...", ["`async def`, which nobody would await"]),
    ("@hookimpl\ndef understudy_event(happening): ...", ["among (event)", "found 'happening'"]),
    ("@hookimpl\ndef understudy_check_response(response, request=None): ...", ["found 'request=None'"]),
    ("import metrics_sdk", ["No module named 'metrics_sdk'", "install understudy-log again"]),
]


@pytest.mark.parametrize(("source", "facts"), BROKEN)
def test_a_broken_extension_is_named_with_its_fault(source: str, facts: list[str], site: Site) -> None:
    modules = {"understudy_log": f"from understudy import hookimpl\n{source}"}
    site.install("understudy-log", extensions={"log": "understudy_log"}, modules=modules)
    with pytest.raises(BrokenPlugin) as caught:
        load_extensions(["log"])
    text = str(caught.value)
    assert text.startswith("extension 'log' (understudy_log, from understudy-log 1.0): expected ")
    assert [fact for fact in facts if fact not in text] == []


def test_an_unknown_extension_is_told_the_near_ones(site: Site) -> None:
    install(site, "log", "trace")
    with pytest.raises(PluginError) as caught:
        load_extensions(["trase"])
    assert str(caught.value) == (
        "expected the name of an installed extension (log, trace), found 'trase'; did you mean 'trace'?"
    )
    with pytest.raises(PluginError, match=r"found 'quokka'; install the package that brings it$"):
        load_extensions(["quokka"])


def test_a_provider_is_not_an_extension_by_its_name(site: Site) -> None:
    site.install("understudy-parrot", providers={"parrot": "understudy_parrot"})
    with pytest.raises(PluginError, match=r"installed extension \(there is none\), found 'parrot'"):
        load_extensions(["parrot"])


def test_an_extension_claimed_by_two_distributions_names_both(site: Site) -> None:
    install(site, "log")
    site.install("paperwork", version="2.0", extensions={"log": "paperwork"})
    with pytest.raises(AmbiguousProvider) as caught:
        load_extensions(["log"])
    text = str(caught.value)
    assert text.startswith("expected one distribution with the extension 'log', found ")
    assert "paperwork 2.0 (paperwork) and understudy-log 1.0 (understudy_log)" in text
    assert "register" not in text


def test_one_name_given_bare_is_one_name(site: Site) -> None:
    install(site, "log")
    manager = load_extensions("log")
    assert manager is not None
    assert len(manager.get_plugins()) == 1


def test_a_factory_loads_those_of_its_settings(site: Site) -> None:
    install(site, "log", "trace")
    module = {"understudy_parrot": site.parrot + "@hookimpl\ndef understudy_provider(settings): return Parrot()\n"}
    site.install("understudy-parrot", providers={"parrot": "understudy_parrot"}, modules=module)
    factory = LLMFactory("parrot", settings={"LLM_EXTENSIONS": "trace"})
    assert factory.generate_content("hello").success
    heard: list[Any] = sys.modules["understudy_trace"].heard
    assert heard
    assert "understudy_log" not in sys.modules
