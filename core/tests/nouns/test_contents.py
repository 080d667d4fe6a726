"""The table of contents: what `import understudy` offers, and what it must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import FunctionType

import pytest

import understudy

SOURCE = Path(understudy.__file__)
# Each costs more than the whole table of contents; typing and dotenv the most.
NOT_LOADED = {"pluggy", "dotenv", "importlib.metadata", "logging", "typing", "asyncio", "dataclasses", "json", "re"}


def imported_for_type_checkers(source: Path) -> set[tuple[str, str]]:
    """Return (module, name) for everything under `if TYPE_CHECKING:`."""
    branches = [node for node in ast.parse(source.read_text("utf-8")).body if isinstance(node, ast.If)]
    assert len(branches) == 1
    return {
        (node.module or "", alias.name)
        for node in ast.walk(branches[0])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (node.module or "").partition(".")[0] == "understudy"
    }


def loaded_by(program: str) -> set[str]:
    """Return the modules that a bare interpreter has after a program."""
    path = [str(SOURCE.parents[1]), *sys.path]
    lines = f"import sys; sys.path[:0] = {path}\n{program}\nprint('\\n'.join(sys.modules))"
    command = [sys.executable, "-I", "-S", "-c", lines]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout.split())


def test_importing_understudy_loads_itself_and_next_to_nothing() -> None:
    loaded = loaded_by("import understudy")
    assert {name for name in loaded if name.partition(".")[0] == "understudy"} == {"understudy", "understudy.contents"}
    assert NOT_LOADED & (loaded - loaded_by("")) == set()


def test_a_name_loads_its_module_and_not_the_registry() -> None:
    loaded = loaded_by("from understudy import LLMResponse, Settings")
    assert "understudy.response" in loaded
    assert {
        "pluggy",
        "dotenv",
        "importlib.metadata",
        "understudy.discovery.registry",
        "understudy.factory",
    } & loaded == set()


HOMES = {name: module for module, names in understudy._CONTENTS.items() for name in names.split()}
ROOMS = ("discovery", "explain", "health", "routing")


@pytest.mark.parametrize("package", ["understudy", *(f"understudy.{room}" for room in ROOMS)])
def test_the_lists_of_names_agree(package: str) -> None:
    module = import_module(package)
    in_table = {(f"understudy.{home}", name) for home, names in module._CONTENTS.items() for name in names.split()}
    assert in_table == imported_for_type_checkers(Path(str(module.__file__)))
    assert {name for _, name in in_table} | ({"__version__"} & set(module.__all__)) == set(module.__all__)
    assert sum(len(names.split()) for names in module._CONTENTS.values()) == len(in_table)
    assert module.__all__ == sorted(set(module.__all__))
    assert dir(module) == module.__all__


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_its_names_and_no_others(room: str) -> None:
    module = import_module(f"understudy.{room}")
    for home, names in module._CONTENTS.items():
        for name in names.split():
            assert getattr(module, name) is getattr(import_module(f"understudy.{home}"), name)
    with pytest.raises(AttributeError, match=f"module 'understudy.{room}' has no attribute 'Quokka'"):
        _ = module.Quokka


@pytest.mark.parametrize("name", sorted(HOMES))
def test_every_name_is_there_and_at_home_where_the_table_says(name: str) -> None:
    found = getattr(understudy, name)
    home = f"understudy.{HOMES[name]}"
    assert found is getattr(import_module(home), name)
    if isinstance(found, type | FunctionType):
        assert found.__module__ == home


def test_every_public_class_and_function_is_documented() -> None:
    bare = [name for name in HOMES if callable(getattr(understudy, name)) and not getattr(understudy, name).__doc__]
    assert bare == []


def test_there_are_about_forty_names() -> None:
    assert len(understudy.__all__) <= 42


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'understudy' has no attribute 'LLMFactry'"):
        _ = understudy.LLMFactry
    with pytest.raises(ImportError, match="cannot import name 'Quokka'"):
        exec("from understudy import Quokka")


def test_the_version_is_the_distributions() -> None:
    assert version("understudy") == understudy.__version__
