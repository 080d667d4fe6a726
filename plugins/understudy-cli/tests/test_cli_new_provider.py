"""`understudy new-provider`: whole packages, and refused names. tests/test_stranger.py installs and runs them."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

SHAPES = ("plain", "http", "openai-compatible")


@pytest.fixture
def understudy(here: Any) -> Any:
    """The command in this process: only what it writes is looked at here."""
    return here


def files_of(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_each_shape_is_a_whole_package_under_its_own_name(understudy: Any) -> None:
    done = understudy.together(
        *(("new-provider", f"grey-jay{number}", "--shape", shape) for number, shape in enumerate(SHAPES))
    )
    for number, (one, shape) in enumerate(zip(done, SHAPES, strict=True)):
        assert one.returncode == 0, one.stderr
        name, module = f"grey-jay{number}", f"understudy_grey_jay{number}"
        files = files_of(understudy.home / f"understudy-{name}")
        assert sorted(f"understudy-{name}/{place}" for place in files) == sorted(one.stdout.splitlines())
        needed = {
            "pyproject.toml",
            "README.md",
            ".gitignore",
            ".github/workflows/test.yml",
            f"src/{module}/__init__.py",
            f"src/{module}/py.typed",
            f"tests/test_grey_jay{number}_contract.py",
        }
        assert needed <= files.keys()
        assert [place for place, text in files.items() if "newcomer" in f"{place} {text}".lower()] == []
        project = tomllib.loads(files["pyproject.toml"])["project"]
        assert (project["name"], project["version"]) == (f"understudy-{name}", "0.1.0")
        assert project["entry-points"]["understudy.providers"] == {name: module}
        for place, text in files.items():
            if place.endswith(".py"):
                ast.parse(text, place)
        hook = files[f"src/{module}/__init__.py"]
        assert f"GreyJay{number}Provider" in hook or shape == "openai-compatible"
        assert f"GREY_JAY{number}_API_KEY" in "".join(files.values())
        commands = [f"cd understudy-{name}", 'python -m pip install -e ".[test]"', "python -m pytest"]
        assert [line.strip() for line in one.stderr.splitlines()[1:4]] == commands
        changed = one.stderr.splitlines()[4].removeprefix("Then change ")
        assert any(place.startswith("src/") and place.rpartition("/")[0] in changed for place in files)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Grey_Jay", "found 'Grey_Jay'; did you mean 'grey-jay'?"),
        ("understudy-jay", "did you mean 'jay'?"),
        ("9lives", "expected a name of small letters, digits and single hyphens, found '9lives'"),
        ("../jay", "did you mean 'jay'?"),
        ("claude", "that is not taken yet, found 'claude': understudy-claude"),
        ("parrot", "found 'parrot': understudy-parrot 1.2"),
        ("gemini-legacy", "found 'gemini-legacy': "),
        ("greeter", "found 'greeter': understudy-greeter is installed"),
        ("sandbox", "understudy-sandbox is a package of Understudy's own"),
        ("mine", "found 'mine': [providers.mine] in "),
    ],
)
def test_a_name_that_would_not_do_is_refused_and_nothing_is_written(name: str, said: str, understudy: Any) -> None:
    (understudy.home / "understudy.toml").write_text('[providers.mine]\nuses = "claude"\n')
    done = understudy("new-provider", name)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert [file.name for file in understudy.home.iterdir()] == ["understudy.toml"]


def test_it_overwrites_nothing_and_writes_where_it_is_told(understudy: Any) -> None:
    (understudy.home / "understudy-jay").mkdir()
    (understudy.home / "understudy-jay" / "thesis.txt").write_text("years of work")
    refused = understudy("new-provider", "jay")
    assert (refused.returncode, "found files in it; choose another --directory" in refused.stderr) == (2, True)
    assert files_of(understudy.home / "understudy-jay") == {"thesis.txt": "years of work"}
    (understudy.home / "empty").mkdir()
    elsewhere, empty = understudy.together(
        ("new-provider", "jay", "--directory", "birds/jay"), ("new-provider", "jay", "--directory", "empty")
    )
    assert (elsewhere.returncode, empty.returncode) == (0, 0)
    assert "  cd birds/jay\n" in elsewhere.stderr
    assert files_of(understudy.home / "birds" / "jay") == files_of(understudy.home / "empty")
