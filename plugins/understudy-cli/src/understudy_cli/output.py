"""Output: the answer goes to standard output, all else to standard error; plain text unless on a terminal.

Rich is imported with the first styled line: a plain answer does not need it.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from understudy.masking import conceal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

SUCCESS, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130

WIDEST = 120  # columns of a terminal that a table uses: longer lines are hard to follow
UNSEEN_WIDTH = 10_000  # columns without a terminal: rows stay on one line, for grep
LEVELS = {logging.WARNING: ("warning", "yellow"), logging.ERROR: ("error", "red"), logging.INFO: ("info", "dim")}
_CONTROLS = {code: None for code in (*range(32), 127, *range(128, 160)) if chr(code) not in "\n\t"}


def prepare_streams() -> None:
    """Replace characters that the terminal cannot show, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@cache
def console(stderr: bool = False) -> Console:
    """Return the console for standard output or standard error; NO_COLOR and FORCE_COLOR are honoured."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if made.is_terminal:
        made.width = min(made.width, WIDEST)
    elif "COLUMNS" not in os.environ:
        made.width = UNSEEN_WIDTH
    return made


def words(text: object, style: str = "") -> Text:
    """Turn text into something that a console shows unchanged, without keys and control characters."""
    from rich.text import Text

    return Text(conceal(str(text)).translate(_CONTROLS), style)


def table(*headings: str) -> Table:
    """Begin a table without lines; a heading that begins with > is right-aligned."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        right = heading.startswith(">")
        name = words(heading.lstrip(">"))
        made.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def show(renderable: RenderableType, stderr: bool = False) -> None:
    """Show a table; without a terminal, without trailing spaces."""
    shown = console(stderr)
    if shown.is_terminal:
        shown.print(renderable)
        return
    with shown.capture() as capture:
        shown.print(renderable)
    lines = [line.rstrip() + "\n" for line in capture.get().splitlines()]
    shown.file.write("".join(lines))
    shown.file.flush()


def say(text: object = "", style: str = "", indent: int = 0) -> None:
    """Write a line to standard error, indented by so many columns."""
    _print_line(words(text, style), indent)


def complain(text: object) -> None:
    """Write what went wrong to standard error."""
    from rich.text import Text

    _print_line(Text.assemble(("error: ", "bold red"), words(text)))


def _print_line(line: Text, indent: int = 0) -> None:
    """Print to standard error: wrapped between words on a terminal, else on one line, for grep."""
    from rich.padding import Padding
    from rich.text import Text

    shown = console(stderr=True)
    if shown.is_terminal and line.plain:  # an empty line would vanish in a padding
        shown.print(Padding(line, (0, 0, 0, indent), expand=False))
    else:
        shown.print(Text(" " * indent).append(line) if line.plain else "", soft_wrap=True)


def fail(text: object, code: int) -> NoReturn:
    """Write what went wrong to standard error and end with this exit code."""
    complain(text)
    raise typer.Exit(code)


def write(text: str) -> None:
    """Write a piece of an answer to standard output, at once; without control characters on a terminal."""
    sys.stdout.write(text.translate(_CONTROLS) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Write one JSON value to standard output: on one line, or spread out where a terminal shows it."""
    text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def dollars(price: float | None) -> str:
    """Write a price; a dash where it is not known."""
    if price is None:
        return "-"
    if not price:
        return "free"
    return "<$0.0001" if price < 0.0001 else f"${price:.4f}" if price < 1 else f"${price:.2f}"


def number(amount: float) -> str:
    """Write an amount: whole with commas where it is large, else with three digits."""
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


def mark(good: bool | None) -> Text:
    """Return a tick, a cross, or for None a mark between the two; words where the terminal has no such letters."""
    from rich.text import Text

    letters = ("✓", "✗", "!") if "utf" in console().encoding.lower() else ("ok", "no", "!")
    return (
        Text(letters[2], "yellow") if good is None else Text(letters[0], "green") if good else Text(letters[1], "red")
    )


def hush() -> None:
    """Stop writing to a standard output that is closed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LogLines(logging.Handler):
    """Shows the log lines of the logger `understudy` on standard error, in a readable short form.

    Args:
        level: the lowest level shown.
        unless: ends and beginnings of lines that are not shown, because the command says the same in more detail.
    """

    def __init__(self, level: int = logging.WARNING, unless: Sequence[str] = ()) -> None:
        super().__init__(level)
        self.unless = tuple(unless)

    def emit(self, record: logging.LogRecord) -> None:
        """Show one line."""
        from rich.text import Text

        message = record.getMessage()
        if message.startswith(self.unless) or message.endswith(self.unless):
            return
        name, style = LEVELS.get(record.levelno, (record.levelname.lower(), ""))
        _print_line(Text.assemble((f"{name}: ", style), words(message)))


def show_log(verbose: bool = False, unless: Sequence[str] = ()) -> None:
    """Show the library's log lines from here on: warnings and errors, or with `verbose` what it does besides."""
    logger = logging.getLogger("understudy")
    level = logging.INFO if verbose else logging.WARNING
    logger.setLevel(level)
    logger.addHandler(LogLines(level, unless))
