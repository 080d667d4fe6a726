"""The contents of a `.env` file, as python-dotenv reads them."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path

from understudy.errors import ConfigurationError
from understudy.files.reading import read_file
from understudy.files.working_folder import keep_out

logger = logging.getLogger("understudy")

_told: dict[object, object] = {}  # faults of files that were logged already


def read_env_file(path: Path, trusted: bool) -> tuple[Mapping[str, str], tuple[int, ...]]:
    """Return what a `.env` says, and the numbers of the lines that are skipped because they cannot be parsed.

    Args:
        path: the file.
        trusted: whether it is read no matter who owns it.

    Raises:
        ForeignFile: somebody else can write it.
        ConfigurationError: it cannot be read, is too large, or is not UTF-8 text.
    """
    keep_out(["dotenv"])
    from dotenv.parser import parse_stream

    try:
        text = read_file(path, trusted=trusted).decode("utf-8-sig")  # after a byte order mark, if any
    except UnicodeDecodeError as error:
        place = error.start
    else:
        values: dict[str, str | None] = {}
        faults: list[int] = []
        for binding in parse_stream(io.StringIO(text, newline=None)):
            if binding.error:  # what it begins with are the empty lines before it
                start = binding.original.string
                faults.append(binding.original.line + start[: len(start) - len(start.lstrip())].count("\n"))
            elif binding.key is not None:
                values[binding.key] = binding.value
        if faults:
            _tell_of_faults(path, tuple(faults))
        return {name: value for name, value in values.items() if value is not None}, tuple(faults)
    # Out here, because that error holds the file's whole contents.
    raise ConfigurationError(
        f"{path}: expected text in UTF-8, found another encoding at byte {place}; save it as UTF-8"
    )


def _tell_of_faults(path: Path, lines: tuple[int, ...]) -> None:
    where = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"  # not shown: it may hold a key
    tell_once((path, lines), "%s, %s: expected NAME=value, found something else, which is skipped", path, where)


def tell_once(fault: object, message: str, *facts: object) -> None:
    """Log a fault of a file as a warning, the first time that it is found."""
    news = object()
    if _told.setdefault(fault, news) is news:
        logger.warning(message, *facts)
