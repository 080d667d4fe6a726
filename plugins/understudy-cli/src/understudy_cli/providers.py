"""`understudy providers`: which providers there are, and whether they can be asked."""

from __future__ import annotations

from typing import Annotated

import typer

from understudy_cli import output

STYLES = {"available": "green", "not available": "yellow", "not loaded": "dim", "not installed": "dim"}


def providers(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    everybody: Annotated[
        bool, typer.Option("--all", help="Also load those that are neither on the route nor ours.")
    ] = False,
) -> None:
    """List the providers: who can be asked, what the others lack, and what else could be installed.

    A third party's provider is loaded only if it is on the route.
    """
    from understudy import Settings
    from understudy.masking import conceal
    from understudy_cli.availability import look

    found = look(Settings(), everybody=everybody)
    if as_json:
        rows = [
            {
                "name": one.name,
                "state": one.state,
                "origin": one.origin,
                "model": one.model,
                "reason": conceal(one.reason) or None,
            }
            for one in found
        ]
        output.write_json({"providers": rows})
        return
    made = output.table("name", "state", "from", "model, or what is missing")
    for one in found:
        style = STYLES.get(one.state, "red")
        last = output.words(one.short_reason or one.model or "", "" if one.reason else "dim")
        made.add_row(output.words(one.name, "bold"), output.words(one.state, style), output.words(one.origin), last)
    output.show(made)
