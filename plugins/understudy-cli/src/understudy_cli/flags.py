"""Commands whose help shows a flag without a type: `--json`, not `--json <bool>`, which would look like a value."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose flags have no type in its help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` among them."""
        return _untyped(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """The same for the options that stand before the name of a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` among them."""
        return _untyped(super().get_params(ctx))


class PlainTyper(typer.Typer):
    """A Typer whose commands are all of this kind, those that extensions add included."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Add a command; the options are Typer's."""
        return super().command(name, **{"cls": PlainCommand, **options})


def _untyped(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters
