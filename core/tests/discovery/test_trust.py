"""What LLM_TRUSTED_PLUGINS does not name and `understudy.lock` does not hold is refused before a line of it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wheels import build, digest, install, record, refuse, trusting

from understudy import ConfigurationError, LLMFactory, LLMProvider, Settings
from understudy.discovery import PluginLock, load_extensions
from understudy.errors import AmbiguousProvider, UntrustedPlugin

if TYPE_CHECKING:
    from conftest import Site

LISTENER = "from understudy import hookimpl\n@hookimpl\ndef understudy_event(event): ...\n"


# ---- the list ----


@pytest.mark.parametrize(
    "names", ["", "understudy-parrot", "Understudy_Parrot", "other, understudy-parrot==1.0", "understudy.parrot == 1.0"]
)
def test_what_is_named_loads_however_it_is_written_and_everything_where_nothing_is(names: str, site: Site) -> None:
    install(site)
    assert build(trusting(site, names)).get_provider_name() == "parrot"


def test_what_is_not_named_is_refused_with_who_is_and_what_to_do(site: Site) -> None:
    install(site)
    refuse(
        trusting(site, "understudy-claude"),
        "provider 'parrot' (understudy_parrot, from understudy-parrot 1.0)",
        "expected a distribution that LLM_TRUSTED_PLUGINS in the environment names (understudy-claude)",
        "found understudy-parrot; add it there if you trust it",
    )
    refuse(trusting(site, ", ,"), "it names none")


def test_another_version_than_the_one_named_is_refused(site: Site) -> None:
    install(site, version="1.1")
    refuse(
        trusting(site, "understudy-parrot==1.0"),
        "expected understudy-parrot==1.0",
        "found version 1.1",
        "pip install --force-reinstall understudy-parrot==1.0",
    )


@pytest.mark.parametrize("names", ["understudy-parrot>=1", "understudy parrot", "understudy-parrot==", "./parrot"])
def test_an_entry_of_another_form_is_named(names: str, site: Site) -> None:
    install(site)
    refuse(trusting(site, names), "is not loaded: LLM_TRUSTED_PLUGINS in the environment: expected names of distri")


def test_extensions_are_held_to_it_too(site: Site) -> None:
    record(site.install("understudy-log", extensions={"log": "understudy_log"}, modules={"understudy_log": LISTENER}))
    settings = trusting(site, "understudy-parrot")
    with pytest.raises(
        UntrustedPlugin, match=r"^extension 'log' \(understudy_log, from understudy-log 1.0\): expected"
    ):
        load_extensions(["log"], settings)
    with pytest.raises(UntrustedPlugin, match="extension 'log'"):
        LLMFactory(LLMFactoryParrot(), settings=settings, extensions=["log"])
    assert "understudy_log" not in sys.modules
    assert load_extensions(["log"], trusting(site, "understudy-log")) is not None


class LLMFactoryParrot(LLMProvider):
    """A class of the caller's own is the caller's own code: nobody is asked whether it is trusted."""

    generate_content = is_available = None  # type: ignore[assignment]  # nobody calls them

    def get_provider_name(self) -> str:
        return "own"


def test_extensions_read_the_environment_where_no_settings_are_given(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("understudy-log", extensions={"log": "understudy_log"}, modules={"understudy_log": LISTENER})
    monkeypatch.setenv("LLM_TRUSTED_PLUGINS", "understudy-parrot")
    with pytest.raises(UntrustedPlugin):
        load_extensions(["log"])


def test_a_trusted_plugin_is_not_kept_out_by_a_stranger_who_claims_its_name(site: Site) -> None:
    install(site)
    install(site, "cuckoo", provider="parrot")
    with pytest.raises(AmbiguousProvider):
        build(trusting(site))
    with pytest.raises(AmbiguousProvider):
        build(trusting(site, "understudy-parrot,understudy-cuckoo"))
    build(trusting(site, "understudy-parrot"))
    assert "understudy_parrot" in sys.modules
    assert "understudy_cuckoo" not in sys.modules


# ---- the lock ----


def test_what_is_locked_loads_and_the_lock_reads_back_as_it_was_written(site: Site) -> None:
    install(site)
    lock = PluginLock.of_installed()
    assert list(lock.plugins) == ["understudy-parrot"]
    assert build(trusting(site, "understudy-parrot", lock=True)).get_provider_name() == "parrot"
    assert PluginLock.read(site.folder.parent / "understudy.lock") == lock
    assert str(lock) == str(PluginLock.of_installed(["Understudy_Parrot"]))


def test_the_lock_is_found_upwards_and_none_is_in_force_where_there_is_none(site: Site, tmp_path: Path) -> None:
    install(site)
    settings = trusting(site, lock=True)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert Settings(directory=tmp_path / "a" / "b").lock_file == settings.lock_file == tmp_path / "understudy.lock"
    (tmp_path / "understudy.lock").unlink()
    assert Settings(directory=tmp_path / "a" / "b").lock_file is None


def test_what_the_installer_adds_makes_no_other_lock(site: Site) -> None:
    info = install(site)
    before = str(PluginLock.of_installed())
    for name in ("INSTALLER", "REQUESTED", "uv_cache.json", "direct_url.json"):
        (info / name).write_text("{}", "utf-8")
    extra = [f"{info.name}/{name},{digest(b'{}')},2" for name in ("INSTALLER", "REQUESTED", "direct_url.json")]
    pyc = "understudy_parrot/__pycache__/__init__.cpython-311.pyc,,"
    record_of = (info / "RECORD").read_text("utf-8")
    (info / "RECORD").write_text(record_of + "\n".join([*extra, pyc, f"../../../bin/parrot,{digest(b'')},0\n"]))
    assert str(PluginLock.of_installed()) == before


def upgrade(site: Site, info: Path) -> None:
    text = (info / "METADATA").read_text("utf-8").replace("1.0", "1.1")
    (info / "METADATA").write_text(text, "utf-8")
    record(info)


def replace_file(site: Site, info: Path) -> None:
    """The same version, other files: what an index that was broken into would serve."""
    bird = site.folder / "understudy_parrot" / "bird.py"
    bird.write_text(bird.read_text("utf-8") + "import os\n", "utf-8")
    (site.folder / "understudy_parrot" / "thief.py").write_text("", "utf-8")
    with (info / "RECORD").open("a") as file:
        file.write("understudy_parrot/thief.py,,\n")
    record(info)


def make_editable(site: Site, info: Path) -> None:
    origin = {"url": (site.folder / "understudy_parrot").as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(origin))


def tamper(site: Site, info: Path) -> None:
    (site.folder / "understudy_parrot" / "bird.py").write_text("raise SystemExit('it ran')", "utf-8")


def remove(site: Site, info: Path) -> None:
    (site.folder / "understudy_parrot" / "bird.py").unlink()


def overlay(site: Site, info: Path) -> None:
    """A package is found before the module of the same name."""
    (site.folder / "understudy_parrot" / "bird").mkdir()
    (site.folder / "understudy_parrot" / "bird" / "__init__.py").write_text("raise SystemExit('it ran')", "utf-8")


def shadow(site: Site, info: Path) -> None:
    folder = site.folder.parent / "first"
    folder.mkdir()
    (folder / "understudy_parrot.py").write_text("raise SystemExit('it ran')", "utf-8")
    sys.path.insert(0, str(folder))


def drop_record(site: Site, info: Path) -> None:
    (info / "RECORD").unlink()


CHANGES: list[tuple[Callable[[Site, Path], None], list[str]]] = [
    (upgrade, ["expected understudy-parrot 1.0 as", "found version 1.1 instead of 1.0"]),
    (replace_file, ["found changed: understudy_parrot/bird.py; new: understudy_parrot/thief.py;", "know why"]),
    (make_editable, ["found an editable install, whose files can change at any time, instead of a copy of its files"]),
    (tamper, ["as its RECORD lists them, found changed: understudy_parrot/bird.py", "find out who changed them"]),
    (remove, ["found missing: understudy_parrot/bird.py", "pip install --force-reinstall understudy-parrot==1.0"]),
    (overlay, ["found not listed: understudy_parrot/bird/__init__.py"]),
    (shadow, ["expected to import a file of understudy-parrot in", "first/understudy_parrot.py in its place"]),
    (drop_record, ["expected a RECORD with the hashes of its files, found none; install it from a wheel"]),
]


@pytest.mark.parametrize(("change", "facts"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_what_has_changed_since_is_refused_with_what_has(
    change: Callable[[Site, Path], None], facts: list[str], site: Site
) -> None:
    info = install(site)
    settings = trusting(site, lock=True)
    change(site, info)
    refuse(settings, "provider 'parrot' (understudy_parrot, from understudy-parrot 1.", *facts)


@pytest.mark.parametrize("change", [tamper, remove, overlay, shadow, drop_record])
def test_the_list_too_trusts_a_distribution_only_as_it_was_installed(
    change: Callable[[Site, Path], None], site: Site
) -> None:
    change(site, install(site))
    refuse(trusting(site, "understudy-parrot"))


def test_what_the_lock_does_not_hold_is_refused(site: Site) -> None:
    install(site)
    settings = trusting(site, lock=True)
    install(site, "raven")
    refuse(settings, "understudy.lock holds (understudy-parrot)", "found understudy-raven", name="raven")


def test_an_editable_install_is_locked_by_its_version_and_said_to_be_one(site: Site) -> None:
    info = install(site)
    make_editable(site, info)
    settings = trusting(site, lock=True)
    assert "editable = true  # its source is imported in place" in settings.lock_file.read_text()  # type: ignore[union-attr]  # it was just written
    tamper(site, info)
    (site.folder / "understudy_parrot" / "bird.py").write_text(site.parrot + '__all__ = ["Parrot", "hookimpl"]\n')
    build(settings)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "expected TOML in UTF-8"),
        ("", "expected version = 1, found None"),
        ("version = 2", "expected version = 1, found 2"),
        ("version = 1\nplugins = 3", r"expected tables \[plugins.NAME\]"),
        ("version = 1\n[plugins]\nx = 3", r"\[plugins.x\] in .*: expected a table, found int"),
        ("version = 1\n[plugins.x]\nversion = 1.0", "expected version, record and files as they were written"),
        ('version = 1\n[plugins.x]\nversion = "1"\nrecord = "sha256=0"', "for its files, found another"),
    ],
)
def test_a_damaged_lock_lets_nothing_load(text: str, fault: str, site: Site, tmp_path: Path) -> None:
    install(site)
    (tmp_path / "understudy.lock").write_text(text)
    with pytest.raises(UntrustedPlugin, match=f"{fault}.*; write it again with `understudy lock`"):
        LLMFactory("parrot", settings=Settings(environment={}, directory=tmp_path))
    assert "understudy_parrot" not in sys.modules


def test_only_what_is_installed_with_hashes_can_be_locked(site: Site) -> None:
    site.install("understudy-raw", providers={"raw": "understudy_raw"})
    with pytest.raises(ConfigurationError, match=r"understudy-raw 1.0: expected a RECORD with the hashes of its files"):
        PluginLock.of_installed()
    with pytest.raises(ConfigurationError, match="found nothing called 'nobody'; those with plugins are understudy-ra"):
        PluginLock.of_installed(["nobody"])


def test_nothing_of_this_is_imported_where_nothing_is_in_force(site: Site) -> None:
    install(site)
    program = (
        "import sys; from understudy import LLMFactory; LLMFactory('parrot', settings={'LLM_TRUSTED_PLUGINS': ''}); "
        "names = {'understudy.discovery.trust', 'understudy.discovery.lock', 'understudy_parrot'}; "
        "print(*sorted(names & sys.modules.keys()))"
    )
    assert site.run(program) == "understudy_parrot\n"
