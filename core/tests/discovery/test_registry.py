"""Names to providers: what is listed, what a lookup imports, and what an unknown or contested name is told."""

from __future__ import annotations

import importlib.metadata
import logging
import sys
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from understudy import ConfigurationError, LLMFactory, LLMProvider, LLMResponse, Settings
from understudy.discovery.distributions import InstalledProvider
from understudy.discovery.packages import FOLDERS, KNOWN_PACKAGES, source_of
from understudy.discovery.registry import ProviderDescription, ProviderRegistry, registry
from understudy.errors import AmbiguousProvider, BrokenPlugin, PluginError, UnknownProvider

if TYPE_CHECKING:
    from conftest import Site

HOOK = "@hookimpl\ndef understudy_provider(settings): return Parrot()\n"
NOTHING = Settings(environment={})


class Raven(LLMProvider):
    def generate_content(self, prompt: str, temperature: float = 0.0, max_tokens: int = 1024) -> LLMResponse:
        return LLMResponse(True, "nevermore", "raven")

    def get_provider_name(self) -> str:
        return "raven"

    def is_available(self) -> bool:
        return True


def install(site: Site, *names: str) -> None:
    """Install a distribution understudy-NAME with a module understudy_NAME that provides NAME, for each."""
    for name in names:
        module = f"understudy_{name}"
        site.install(f"understudy-{name}", providers={name: module}, modules={module: site.parrot + HOOK})


def read_unknown(name: str, registry: ProviderRegistry) -> str:
    with pytest.raises(UnknownProvider) as caught:
        registry.build(name, NOTHING)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ConfigurationError)
    return str(caught.value)


# ---- Listing and loading -------------------------------------------------------------------------------------------


def test_listing_imports_nothing(site: Site) -> None:
    install(site, "parrot", "magpie")
    registry = ProviderRegistry()
    registry["raven"] = Raven
    assert list(registry) == ["raven", "magpie", "parrot"]
    assert len(registry) == 3
    assert "parrot" in registry
    assert "crow" not in registry
    assert repr(registry) == "ProviderRegistry(['raven', 'magpie', 'parrot'])"
    assert registry["raven"] is Raven
    installed = registry["parrot"]
    assert isinstance(installed, InstalledProvider)
    assert (installed.name, installed.entry_point) == ("parrot", "understudy_parrot")
    assert (installed.distribution, installed.version) == ("understudy-parrot", "1.0")
    assert registry.get("crow") is None
    assert dict(registry.items()).keys() == {"raven", "magpie", "parrot"}
    registry.describe()
    assert not {"understudy_parrot", "understudy_magpie"} & sys.modules.keys()


def test_what_is_known_is_not_looked_for_again(site: Site) -> None:
    install(site, "parrot")
    registry = ProviderRegistry()
    assert list(registry) == ["parrot"]
    with mock.patch.object(importlib.metadata, "distributions", side_effect=AssertionError("it was looked for again")):
        assert registry["parrot"].name == "parrot"


def test_asking_for_one_imports_that_one(site: Site) -> None:
    install(site, "parrot", "magpie")
    provider = ProviderRegistry().build("parrot", NOTHING)
    assert provider.get_provider_name() == "parrot"
    assert "understudy_parrot" in sys.modules
    assert "understudy_magpie" not in sys.modules


def test_a_program_imports_the_plugin_that_it_names_and_no_other(site: Site) -> None:
    install(site, "parrot", "magpie")
    loud = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()"
    site.install("understudy-loud", providers={"loud": "loud"}, extensions={"loud": "loud"}, modules={"loud": loud})
    printed = site.run(
        "import sys\n"
        "from understudy import LLMFactory\n"
        "assert {'parrot', 'magpie', 'loud'} <= set(LLMFactory.PROVIDER_REGISTRY)\n"
        "LLMFactory.PROVIDER_REGISTRY.describe()\n"
        "assert not [name for name in sys.modules if name in ('understudy_parrot', 'understudy_magpie', 'loud')]\n"
        "factory = LLMFactory('parrot')\n"
        "print(factory.generate_content('hello').content)\n"
        "print([name for name in sys.modules if name in ('understudy_parrot', 'understudy_magpie', 'loud')])\n"
    )
    assert printed.splitlines() == ["hello", "['understudy_parrot']"]
    assert not (site.folder / "loud.ran").exists()


def test_a_broken_plugin_that_nobody_asked_for_harms_nobody(site: Site) -> None:
    install(site, "parrot")
    site.install("understudy-wreck", providers={"wreck": "understudy_wreck"}, modules={"understudy_wreck": "1 / 0"})
    registry = ProviderRegistry()
    assert registry.build("parrot", NOTHING).get_provider_name() == "parrot"
    assert [row.name for row in registry.describe() if row.state == "installed"] == ["parrot", "wreck"]
    with pytest.raises(BrokenPlugin, match="ZeroDivisionError"):
        registry.build("wreck", NOTHING)


@pytest.mark.parametrize("damage", ["entry_points", "encoding", "no metadata"])
def test_a_damaged_distribution_is_passed_over_and_named(damage: str, site: Site) -> None:
    install(site, "parrot")
    metadata = site.install("understudy-wreck", providers={"wreck": "understudy_wreck"})
    if damage == "entry_points":
        (metadata / "entry_points.txt").write_text("[understudy.providers]\nwreck\n")
    elif damage == "encoding":
        (metadata / "entry_points.txt").write_bytes(b"[understudy.providers]\nwreck = \xff\n")
    else:
        (metadata / "METADATA").unlink()
    registry = ProviderRegistry()
    assert registry.build("parrot", NOTHING).get_provider_name() == "parrot"
    text = read_unknown("wreck", registry)
    assert "damaged, and therefore ignored: " in text
    assert "understudy" in text.partition("ignored")[2]
    assert "wreck" in text.partition("ignored")[2]


def test_what_is_installed_while_the_program_runs_is_found(site: Site) -> None:
    registry = ProviderRegistry()
    read_unknown("parrot", registry)
    install(site, "parrot")
    assert registry.build("parrot", NOTHING).get_provider_name() == "parrot"


def test_another_path_has_other_providers(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "parrot")
    registry = ProviderRegistry()
    assert list(registry) == ["parrot"]
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert list(registry) == []


def test_of_two_copies_of_a_distribution_the_first_on_the_path_counts(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "parrot")
    site.install("Understudy.Parrot", version="2.0", providers={"parrot": "elsewhere"}).rename(
        tmp_path / "Understudy.Parrot-2.0.dist-info"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert len(list(importlib.metadata.distributions(path=[str(tmp_path)]))) == 1
    provider = ProviderRegistry()["parrot"]
    assert isinstance(provider, InstalledProvider)
    assert (provider.version, provider.rivals) == ("1.0", ())


def test_threads_that_ask_at_once_get_the_same_plugin(site: Site) -> None:
    install(site, "parrot")
    registry = ProviderRegistry()
    barrier = threading.Barrier(8, timeout=10)
    classes: list[type[LLMProvider]] = []

    def ask() -> None:
        barrier.wait()
        classes.append(type(registry.build("parrot", NOTHING)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(classes) == 8
    assert len(set(classes)) == 1


# ---- Unknown and contested names -----------------------------------------------------------------------------------


def test_a_misspelt_name_is_told_the_near_one_and_all_that_are_there(site: Site) -> None:
    install(site, "parrot", "magpie")
    for name in ("parott", "PARROT"):
        assert read_unknown(name, ProviderRegistry()) == (
            f"expected the name of an installed provider (magpie, parrot), found {name!r}; did you mean 'parrot'?"
        )


@pytest.mark.parametrize("name", ["claude", "Claude", "cluade"])
def test_a_known_name_that_is_not_installed_is_told_the_package(name: str, site: Site) -> None:
    text = read_unknown(name, ProviderRegistry())
    assert text == (
        f"expected the name of an installed provider (there is none), found {name!r}; "
        "understudy-claude brings 'claude' (plugins/understudy-claude in a clone)"
    )


@pytest.mark.parametrize("name", ["quokka", "", " ", "claude:opus", "understudy-quokka"])
def test_no_package_is_invented_for_an_unknown_name(name: str, site: Site) -> None:
    text = read_unknown(name, ProviderRegistry())
    assert "pip install" not in text
    if " brings '" in text:
        assert text.partition(" brings '")[0].split()[-1] in KNOWN_PACKAGES.values()
    else:
        assert text.endswith(
            "install the package that brings it, or register a class: LLMFactory.register_provider(name, cls)"
        )


def test_the_known_packages_are_those_of_this_repository_and_bring_these_names() -> None:
    plugins = Path(__file__).parents[3] / "plugins"
    if not plugins.is_dir():
        pytest.skip("the plugins' folders are not beside the core")
    for name, package in KNOWN_PACKAGES.items():
        project = tomllib.loads((plugins / package / "pyproject.toml").read_text("utf-8"))["project"]
        assert project["name"] == package
        assert name in project["entry-points"]["understudy.providers"]
    for file in (plugins.parent / "core/pyproject.toml", *plugins.glob("*/pyproject.toml")):
        name = tomllib.loads(file.read_text("utf-8"))["project"]["name"]
        assert FOLDERS[name] == file.parent.relative_to(plugins.parent).as_posix()  # no advice to fetch it elsewhere


def test_no_package_of_ours_is_advised_to_be_fetched_from_an_index() -> None:
    assert source_of("understudy-gemini") == "plugins/understudy-gemini in a clone"
    assert source_of("understudy", "0.1.0") == "core in a clone, at version 0.1.0"
    assert source_of("parrot") == "pip install --force-reinstall parrot"
    assert source_of("parrot", "1.0") == "pip install --force-reinstall parrot==1.0"


def test_a_name_claimed_by_two_distributions_names_both(site: Site) -> None:
    install(site, "parrot")
    site.install("birdsong", version="3.1", providers={"parrot": "birdsong.llm"})
    registry = ProviderRegistry()
    with pytest.raises(AmbiguousProvider) as caught:
        registry.build("parrot", NOTHING)
    text = str(caught.value)
    assert "birdsong 3.1 (birdsong.llm) and understudy-parrot 1.0 (understudy_parrot)" in text
    assert "uninstall all but one" in text
    assert "LLMFactory.register_provider" in text
    assert "parrot" in registry
    assert registry["parrot"] == registry["parrot"]
    assert "understudy_parrot" not in sys.modules
    assert registry.describe()[0] == ProviderDescription(
        name="parrot", state="ambiguous", origin="birdsong 3.1 and understudy-parrot 1.0"
    )
    registry["parrot"] = Raven
    assert isinstance(registry.build("parrot", NOTHING), Raven)


def test_a_contested_name_is_not_said_to_be_ours(site: Site) -> None:
    site.install("understudy-claude", providers={"claude": "understudy_claude"})
    site.install("zebra", providers={"claude": "zebra"})
    row = ProviderRegistry().describe()[0]
    assert (row.name, row.state, row.is_ours) == ("claude", "ambiguous", False)


# ---- Classes registered in this process ----------------------------------------------------------------------------


def test_a_registered_class_stands_above_an_installed_provider_and_says_so_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    install(site, "parrot")
    registry = ProviderRegistry()
    registry.register("parrot", Raven)
    with caplog.at_level(logging.WARNING, "understudy"):
        assert isinstance(registry.build("parrot", NOTHING), Raven)
        assert isinstance(registry.build("parrot", NOTHING), Raven)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "understudy",
            "WARNING",
            "parrot is registered in this process and overrides the provider 'parrot' "
            "(understudy_parrot, from understudy-parrot 1.0)",
        )
    ]
    assert "understudy_parrot" not in sys.modules
    del registry["parrot"]
    assert registry.build("parrot", NOTHING).get_provider_name() == "parrot"


class Scarecrow:
    """Has the three methods and does not inherit."""

    generate_content = get_provider_name = is_available = None


@pytest.mark.parametrize("wrong", [Scarecrow, object, Raven(), "understudy_parrot", None, list[int], lambda: Raven()])
def test_only_a_class_that_inherits_is_registered(wrong: Any) -> None:
    registry = ProviderRegistry()
    for register in (registry.register, registry.__setitem__):
        with pytest.raises(ValueError, match=r"^Must inherit from LLMProvider$"):
            register("raven", wrong)
    assert "raven" not in registry


@pytest.mark.parametrize("name", ["", "a b", "claude:opus", "a,b", "raven\n", None, 5, b"raven"])
def test_a_name_that_could_not_stand_in_a_route_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name without spaces, colons and commas, found"):
        ProviderRegistry().register(name, Raven)


def test_a_class_that_cannot_be_made_is_named(site: Site) -> None:
    class Needy(Raven):
        def __init__(self, key: str) -> None:
            raise AssertionError("it was made without a key")

    registry = ProviderRegistry()
    registry.register("needy", Needy)
    registry.register("abstract", LLMProvider)
    with pytest.raises(BrokenPlugin) as caught:
        registry.build("needy", NOTHING)
    text = str(caught.value)
    assert "Needy of " in text
    assert "registered in this process" in text
    assert "missing 1 required positional argument: 'key'" in text
    assert "Needy() work without arguments" in text
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(BrokenPlugin, match="abstract class LLMProvider"):
        registry.build("abstract", NOTHING)


def test_a_malformed_setting_of_a_registered_class_flies_unchanged() -> None:
    class Strict(Raven):
        def __init__(self) -> None:
            raise ConfigurationError("RAVEN_HOME is empty")

    registry = ProviderRegistry()
    registry.register("strict", Strict)
    with pytest.raises(ConfigurationError, match=r"^RAVEN_HOME is empty$") as caught:
        registry.build("strict", NOTHING)
    assert not isinstance(caught.value, PluginError)


def test_removing(site: Site) -> None:
    install(site, "parrot")
    registry = ProviderRegistry()
    registry["raven"] = Raven
    assert registry.pop("raven") is Raven
    assert registry.pop("raven", None) is None
    with pytest.raises(KeyError, match="expected a name registered in this process, found 'parrot'"):
        del registry["parrot"]
    registry["raven"] = Raven
    registry.clear()
    assert list(registry) == ["parrot"]


def test_a_test_can_patch_the_mapping_and_have_it_put_back(site: Site) -> None:
    install(site, "parrot")
    registry = ProviderRegistry()
    registry["crow"] = Raven
    before = dict(registry)
    with mock.patch.dict(registry, {"parrot": Raven, "raven": Raven}):
        assert registry["parrot"] is registry["raven"] is Raven
    assert dict(registry) == before


def test_the_factory_has_the_registry_of_the_process(site: Site) -> None:
    assert LLMFactory.PROVIDER_REGISTRY is registry
    LLMFactory.register_provider("raven", Raven)
    try:
        assert LLMFactory.PROVIDER_REGISTRY["raven"] is Raven
        assert LLMFactory("raven").generate_content("hello").content == "nevermore"
    finally:
        del LLMFactory.PROVIDER_REGISTRY["raven"]


def test_describing_tells_where_every_name_comes_from(site: Site) -> None:
    install(site, "parrot")
    site.install("understudy-claude", version="0.9", providers={"claude": "understudy_claude"})
    registry = ProviderRegistry()
    registry["raven"] = Raven
    assert [(row.name, row.state, row.origin) for row in registry.describe()] == [
        ("claude", "installed", "understudy-claude 0.9"),
        ("parrot", "installed", "understudy-parrot 1.0"),
        ("raven", "registered", "registered in this process"),
        *(
            (name, "not installed", f"plugins/{package} in a clone")
            for name, package in sorted(KNOWN_PACKAGES.items())
            if name != "claude"
        ),
    ]
    assert KNOWN_PACKAGES["gemini"] == KNOWN_PACKAGES["vertex"] == "understudy-gemini"
