"""`understudy new-provider`: write a package with a provider in it, which passes the conformance suite as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Shape = Literal["plain", "http", "openai-compatible"]

# The templates are a whole package of this name, each file with .txt after its own name.
NEWCOMER = "newcomer"
PLACES = {"gitignore": ".gitignore", "test.yml": ".github/workflows/test.yml"}  # of the files in templates/common
OURS = ("cli", "gateway", "otel", "ray", "redis", "sandbox", "testing")  # understudy-NAME is something else
FIRST_CHANGE = {
    "plain": "ask() in src/{module}/__init__.py",
    "http": "wire.py, failures.py and the address in provider.py, all in src/{module}/",
    "openai-compatible": "BASE_URL and DEFAULT_MODEL in src/{module}/__init__.py",
}


def new_provider(
    name: Annotated[str, typer.Argument(help="What a route will call it, for example parrot.", show_default=False)],
    shape: Annotated[
        Shape,
        typer.Option(help="A class of three methods, a client for an HTTP API, or a name for a server like OpenAI's."),
    ] = "plain",
    directory: Annotated[
        Path | None,
        typer.Option(help="The folder to write; understudy-NAME unless given.", metavar="DIRECTORY", file_okay=False),
    ] = None,
) -> None:
    """Write a package with a provider in it. It passes the conformance suite before a line of it is changed."""
    _check_name(name)
    folder = directory or Path(f"understudy-{name}")
    if folder.exists() and any(folder.iterdir()):
        output.fail(f"expected to write {folder}, found files in it; choose another --directory", output.USAGE)
    for place, text in sorted(_render(name, shape)):
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        output.write(f"{file}\n")
    module = f"understudy_{_identifier(name)}"
    output.say(f"A provider named {name}. It passes the conformance suite as it is:")
    for command in (f"cd {folder}", 'python -m pip install -e ".[test]"', "python -m pytest"):
        output.say(command, "cyan", indent=2)
    output.say(f"Then change {FIRST_CHANGE[shape].format(module=module)}, and run the suite again.")


def _check_name(name: str) -> None:
    """Check that a name works in a route and as a package and a module, and is not taken."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("understudy-")).strip("-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name, re.ASCII) or name.startswith("understudy"):
        hint = f"; did you mean {plain!r}?" if plain and plain[0].isalpha() and plain != name else ""
        output.fail(f"expected a name of small letters, digits and single hyphens, found {name!r}{hint}", output.USAGE)
    home = _find_home(name)
    if home:
        output.fail(f"expected a name that is not taken yet, found {name!r}: {home}", output.USAGE)


def _find_home(name: str) -> str:
    """Say what has taken a name; an empty string if it is free."""
    from importlib import metadata

    from packaging.utils import canonicalize_name

    from understudy import LLMFactory, Settings

    if name in OURS:
        return f"understudy-{name} is a package of Understudy's own"
    for row in LLMFactory.PROVIDER_REGISTRY.describe():
        if row.name == name:
            return row.origin
    table = Settings().tables.get(name)
    if table is not None:
        return table.origin
    wanted = canonicalize_name(f"understudy-{name}")
    here = any(canonicalize_name(one.metadata["Name"] or "") == wanted for one in metadata.distributions())
    return f"{wanted} is installed" if here else ""


def _render(name: str, shape: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each file."""
    templates = files("understudy_cli") / "templates"
    for place, file in _walk(templates / shape):
        yield _rename(place, name), _rename(file.read_text("utf-8"), name)
    for place, file in _walk(templates / "common"):
        yield PLACES[place], _rename(file.read_text("utf-8"), name)


def _walk(folder: Traversable, above: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        place = f"{above}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{place}/")
        elif entry.name.endswith(".txt"):
            yield place.removesuffix(".txt"), entry


def _rename(text: str, name: str) -> str:
    """Replace the template's name, in the form that each place needs."""
    identifier = _identifier(name)
    title = "".join(word.capitalize() for word in name.split("-"))
    for there, here in (
        (f"understudy_{NEWCOMER}", f"understudy_{identifier}"),
        (f"test_{NEWCOMER}", f"test_{identifier}"),
        (NEWCOMER.upper(), identifier.upper()),
        (NEWCOMER.capitalize(), title),
        (NEWCOMER, name),
    ):
        text = text.replace(there, here)
    return text


def _identifier(name: str) -> str:
    return name.replace("-", "_")
