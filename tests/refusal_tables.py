"""What each plugin knows a vendor's refusals by, read out of the plugins' own tables for docs/errors.md."""

import importlib
import inspect
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from model_tables import table

from understudy import Failure

VENDORS = {
    "claude": "understudy_claude",
    "cohere": "understudy_cohere",
    "gemini, vertex, gemini-legacy": "understudy_gemini_wire",
    "ollama": "understudy_ollama",
    "openai": "understudy_openai",
}
NAMED = re.compile(r"_?OF_[A-Z_]+")  # a table's name
SHOWN = 60  # characters of a sentence


def what_refusals_are_known_by() -> str:
    """Return a row for each vendor and failure: the codes, types, statuses and sentences that mean it."""
    body = []
    for vendor, package in VENDORS.items():
        known: dict[str, dict[str, None]] = defaultdict(dict)
        for told, kind in rows_of(package):
            known[kind.__name__][told] = None
        body += [[vendor, f"`{kind}`", ", ".join(sorted(told))] for kind, told in sorted(known.items())]
    return table(["provider", "failure", "codes, types, statuses and (in quotes) sentences that mean it"], *body)


def rows_of(package: str) -> Iterator[tuple[str, type[Failure]]]:
    """Yield each row of a package's tables: what is told, and which failure it is."""
    for module in modules_of(package):
        for name, found in vars(module).items():
            if NAMED.fullmatch(name) and not inspect.isroutine(found):
                yield from read(found)


def modules_of(package: str) -> list[ModuleType]:
    """Return the modules that have tables of failures."""
    path = importlib.import_module(package).__path__
    names = [f"{package}.{found.name}" for found in pkgutil.iter_modules(path)]
    wanted = [name for name in names if name.rpartition(".")[2] in ("failures", "refusals")]
    return [importlib.import_module(name) for name in wanted]


def read(found: Any) -> Iterator[tuple[str, type[Failure]]]:
    """Yield the rows of one table, whichever of our forms it has."""
    if isinstance(found, Mapping):
        for told, meant in found.items():
            if is_kind(meant):
                yield shown(told), meant
            else:
                yield from read(meant)  # by the failure without the words
    elif isinstance(found, tuple | list):
        for row in found:
            cells = list(flat(row)) if isinstance(row, tuple | list) else []
            kinds = [cell for cell in cells if is_kind(cell)]
            words = [cell for cell in cells if isinstance(cell, str | re.Pattern)]
            if kinds and words:
                yield shown(words[0], sentence=True), kinds[-1]


def flat(row: Any) -> Iterator[Any]:
    """Yield the cells of a row, those of a tuple inside it too."""
    for cell in row:
        if isinstance(cell, tuple | list):
            yield from flat(cell)
        else:
            yield cell


def is_kind(cell: Any) -> bool:
    """Whether a cell is a kind of failure."""
    return inspect.isclass(cell) and issubclass(cell, Failure)


def shown(told: Any, *, sentence: bool = False) -> str:
    """Return a cell of a document for a code, a status, or words."""
    text = told.pattern if isinstance(told, re.Pattern) else str(told)
    text = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    text = text.replace("|", "\\|").replace("`", "'").replace("](", "] (")
    return f'"`{text}`"' if sentence else f"`{text}`"
