"""Every way in which a plugin can be broken has an error that names the plugin, the fault and the cure."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

from understudy import ConfigurationError, Settings
from understudy.discovery.distributions import InstalledProvider
from understudy.discovery.loader import load_plugin
from understudy.discovery.registry import ProviderRegistry
from understudy.errors import BrokenPlugin

if TYPE_CHECKING:
    from conftest import Site

MODULE = "understudy_parrot"
GOOD = "@hookimpl\ndef understudy_provider(settings): return Parrot()\n"

# What follows the provider class in the module (None: there is no module), the entry point, what the message must say.
CASES: dict[str, tuple[str | None, str, list[str]]] = {
    "no such module": (
        None,
        MODULE,
        ["to import understudy_parrot", "No module named 'understudy_parrot'", "install understudy-parrot again"],
    ),
    "no such submodule": (
        "",
        MODULE + ".plugin",
        ["'understudy_parrot' is not a package", "install understudy-parrot again"],
    ),
    "its SDK is missing": (
        "import parrot_sdk",
        MODULE,
        ["No module named 'parrot_sdk'", "`pip check` lists what is missing"],
    ),
    "syntax": ("def (:", MODULE, ["SyntaxError: invalid syntax (understudy_parrot.py"]),
    "raises": ("1 / 0", MODULE, ["ZeroDivisionError: division by zero", "upgrade understudy-parrot", "authors"]),
    "raises without words": ("raise RuntimeError", MODULE, ["found RuntimeError;"]),
    "raises a novel": ("raise RuntimeError('x' * 1000)", MODULE, [f"found RuntimeError: {'x' * 283}...;"]),
    "raises a long line": ("raise RuntimeError('x' * 286)", MODULE, [f"found RuntimeError: {'x' * 286};"]),
    "exits": ("import sys; sys.exit('no licence')", MODULE, ["SystemExit: no licence"]),
    "no module named at all": (GOOD, ":plugin", ["like 'package.module', found ':plugin'", "correct the entry point"]),
    "relative module": (GOOD, ".plugin", ["like 'package.module', found '.plugin'"]),
    "missing attribute": (GOOD, MODULE + ":plugin", ["nothing called 'plugin'", "correct the entry point"]),
    "missing inner attribute": (GOOD, MODULE + ":Parrot.plugin", ["nothing called 'plugin'"]),
    "class": (GOOD, MODULE + ":Parrot", ["found the class Parrot", "name the module", "or an instance"]),
    "function": (GOOD, MODULE + ":understudy_provider", ["found the function understudy_provider", "name the module"]),
    "None": (GOOD + "plugin = None", MODULE + ":plugin", ["found None"]),
    "unhashable": (
        "class Plugin:\n    __hash__ = None\nplugin = Plugin()",
        MODULE + ":plugin",
        ["unhashable type: 'Plugin'"],
    ),
    "no hook": ("", MODULE, ["expected understudy_provider in the module understudy_parrot", "no hook at all"]),
    "an instance without a hook": ("parrot = Parrot()", MODULE + ":parrot", ["in an instance of Parrot"]),
    "forgotten mark": (
        "def understudy_provider(settings):\n    return Parrot()",
        MODULE,
        ["found it without @hookimpl", "from understudy import hookimpl"],
    ),
    "forgotten mark on a second hook": (
        GOOD + "def understudy_event(event): pass",
        MODULE,
        ["understudy_event to be marked", "without @hookimpl"],
    ),
    "marked as a specification": (
        "from understudy.hookspecs import hookspec\n@hookspec\ndef understudy_provider(settings): ...",
        MODULE,
        ["marked with @hookspec"],
    ),
    "marked for another project": (
        "import pluggy\n@pluggy.HookimplMarker('pytest')\ndef understudy_provider(settings): return Parrot()",
        MODULE,
        ["marked for the project 'pytest'", "from understudy import hookimpl"],
    ),
    "misspelt": (
        "@hookimpl\ndef understudy_provder(settings): return Parrot()",
        MODULE,
        ["understudy_provder", "did you mean understudy_provider?"],
    ),
    "misspelt beside a good one": (
        GOOD + "@hookimpl\ndef understudy_chek_response(request, response): pass",
        MODULE,
        ["did you mean understudy_check_response?"],
    ),
    "misspelt and optional": (
        "@hookimpl(optionalhook=True)\ndef understudy_providr(settings): return Parrot()",
        MODULE,
        ["did you mean understudy_provider?"],
    ),
    "unknown": (GOOD + "@hookimpl\ndef understudy_lunch(): pass", MODULE, ["understudy_lunch", "remove the decorator"]),
    "only optional": (
        "@hookimpl(optionalhook=True)\ndef understudy_lunch(): pass",
        MODULE,
        ["expected understudy_provider", "found understudy_lunch"],
    ),
    "misspelt specname": (
        "@hookimpl(specname='understudy_providers')\ndef make(settings): return Parrot()",
        MODULE,
        ["did you mean understudy_provider?"],
    ),
    "extension": (
        "@hookimpl\ndef understudy_event(event): pass",
        MODULE,
        ["found understudy_event", "makes it an extension", "understudy.extensions"],
    ),
    "argument of another name": (
        "@hookimpl\ndef understudy_provider(config): return Parrot()",
        MODULE,
        ["arguments among (settings)", "found 'config'"],
    ),
    "argument with a default": (
        "@hookimpl\ndef understudy_provider(settings=None): return Parrot()",
        MODULE,
        ["found 'settings=None', which pluggy would not pass", "without defaults"],
    ),
    "argument after a star": (
        "@hookimpl\ndef understudy_provider(*, settings): return Parrot()",
        MODULE,
        ["found 'settings', which pluggy would not pass"],
    ),
    "arguments of any name": (
        "@hookimpl\ndef understudy_provider(**settings): return Parrot()",
        MODULE,
        ["found '**settings', which pluggy would not pass"],
    ),
    "async": (
        "@hookimpl\nasync def understudy_provider(settings): return Parrot()",
        MODULE,
        ["`async def`, which nobody would await"],
    ),
    "async generator": (
        "@hookimpl\nasync def understudy_provider(settings): yield Parrot()",
        MODULE,
        ["`async def`, which nobody would await"],
    ),
    "generator": (
        "@hookimpl\ndef understudy_provider(settings): yield Parrot()",
        MODULE,
        ["one with `yield`, which would never run"],
    ),
    "wrapper that does not yield": (
        "@hookimpl(wrapper=True)\ndef understudy_provider(settings): return Parrot()",
        MODULE,
        ["PluginValidationError", "not a generator function"],
    ),
}


def read_error(site: Site, source: str | None, entry_point: str = MODULE) -> str:
    modules = {} if source is None else {MODULE: site.parrot + source}
    site.install("understudy-parrot", providers={"parrot": entry_point}, modules=modules)
    registry = ProviderRegistry()
    with pytest.raises(BrokenPlugin) as caught:
        registry.build("parrot", Settings(environment={}))
    text = str(caught.value)
    assert text.startswith(f"provider 'parrot' ({entry_point}, from understudy-parrot 1.0): expected ")
    assert ", found " in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("case", CASES)
def test_a_broken_plugin_is_named_with_its_fault_and_the_cure(case: str, site: Site) -> None:
    source, entry_point, facts = CASES[case]
    text = read_error(site, source, entry_point)
    assert [fact for fact in facts if fact not in text] == []


RETURNS = {
    "None": ("None", "None"),
    "the class": ("Parrot", "the class Parrot"),
    "another object": ("object()", "an instance of object"),
    "a name": ("'parrot'", "an instance of str"),
}


@pytest.mark.parametrize("case", RETURNS)
def test_what_is_not_a_provider_is_named(case: str, site: Site) -> None:
    expression, found = RETURNS[case]
    text = read_error(site, f"@hookimpl\ndef understudy_provider(settings): return {expression}")
    assert f"expected an instance of LLMProvider, found {found}; return an object of a class" in text


def test_an_exception_of_the_hook_is_named_and_chained(site: Site) -> None:
    text = read_error(site, "@hookimpl\ndef understudy_provider(settings): return {}['PARROT_HOME']")
    assert "expected it to make a provider, found KeyError: 'PARROT_HOME'" in text
    assert "the authors of understudy-parrot" in text


def test_a_hook_that_exits_does_not_end_the_program(site: Site) -> None:
    assert "found SystemExit: 3" in read_error(
        site, "@hookimpl\ndef understudy_provider(settings): raise SystemExit(3)"
    )


@pytest.mark.parametrize("source", ["import parrot_sdk", "raise SystemExit", GOOD.replace("return", "raise OSError #")])
def test_the_cause_is_chained(source: str, site: Site) -> None:
    site.install("understudy-parrot", providers={"parrot": MODULE}, modules={MODULE: site.parrot + source})
    with pytest.raises(BrokenPlugin) as caught:
        ProviderRegistry().build("parrot", Settings(environment={}))
    assert isinstance(caught.value.__cause__, ModuleNotFoundError | SystemExit | OSError)


def test_an_interrupt_at_import_flies(site: Site) -> None:
    site.install("understudy-parrot", providers={"parrot": MODULE}, modules={MODULE: "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        ProviderRegistry().build("parrot", Settings(environment={}))


def test_a_malformed_setting_flies_unchanged(site: Site) -> None:
    source = site.parrot + "@hookimpl\ndef understudy_provider(settings): return settings.url('PARROT_BASE_URL')"
    site.install("understudy-parrot", providers={"parrot": MODULE}, modules={MODULE: source})
    with pytest.raises(ConfigurationError, match="PARROT_BASE_URL in the environment") as caught:
        ProviderRegistry().build("parrot", Settings(environment={"PARROT_BASE_URL": "nonsense"}))
    assert type(caught.value) is ConfigurationError


def test_a_key_in_an_exception_of_a_plugin_is_masked(site: Site) -> None:
    key = "parrot-key-0123456789"
    source = """@hookimpl
def understudy_provider(settings):
    raise RuntimeError("cannot use " + settings.secret("PARROT_API_KEY").reveal())
"""
    site.install("understudy-parrot", providers={"parrot": MODULE}, modules={MODULE: site.parrot + source})
    with pytest.raises(BrokenPlugin, match=r"RuntimeError: cannot use \*\*\*;") as caught:
        ProviderRegistry().build("parrot", Settings(environment={"PARROT_API_KEY": key}))
    assert key not in str(caught.value)


def test_a_plugin_repaired_in_the_meantime_is_loaded(site: Site) -> None:
    registry = ProviderRegistry()
    site.install("understudy-parrot", providers={"parrot": MODULE}, modules={MODULE: site.parrot + "import parrot_sdk"})
    with pytest.raises(BrokenPlugin):
        registry.build("parrot", Settings(environment={}))
    site.install("parrot-sdk", modules={"parrot_sdk": ""})
    importlib.invalidate_caches()
    with pytest.raises(BrokenPlugin, match="no hook at all"):
        registry.build("parrot", Settings(environment={}))


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "@hookimpl(specname='understudy_provider')\ndef make(settings): return Parrot()",
        "@hookimpl\ndef understudy_provider(): return Parrot()",
        "@hookimpl(tryfirst=True)\ndef understudy_provider(settings, /): return Parrot()",
        GOOD + "@hookimpl(optionalhook=True)\ndef understudy_hook_of_a_newer_version(): pass",
        GOOD + "@hookimpl\ndef understudy_event(event): pass",
        GOOD + "@hookimpl(wrapper=True, specname='understudy_provider')\ndef watch():\n    return (yield)",
    ],
)
def test_a_sound_plugin_is_not_accused(source: str, site: Site) -> None:
    site.install("understudy-parrot", providers={"parrot": MODULE}, modules={MODULE: site.parrot + source})
    assert ProviderRegistry().build("parrot", Settings(environment={})).get_provider_name() == "parrot"


@pytest.mark.parametrize("how", ["def", "@staticmethod\n    def", "@classmethod\n    def"])
def test_an_instance_with_the_hook_is_a_plugin(how: str, site: Site) -> None:
    first = {"def": "self, ", "@staticmethod\n    def": "", "@classmethod\n    def": "cls, "}[how]
    source = f"""
class Plugin:
    @hookimpl
    {how} understudy_provider({first}settings):
        return Parrot()

    @property
    def trap(self):
        raise AssertionError("somebody looked")

plugin = Plugin()
"""
    site.install("understudy-parrot", providers={"parrot": f"{MODULE}:plugin"}, modules={MODULE: site.parrot + source})
    registry = ProviderRegistry()
    assert registry.build("parrot", Settings(environment={})).get_provider_name() == "parrot"
    installed = registry["parrot"]
    assert isinstance(installed, InstalledProvider)
    assert load_plugin(installed) is load_plugin(installed)
