"""`understudy status`: the route as it is configured, and who on it can be asked now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from understudy_cli import output


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the configured route. The exit code is 1 when nobody on it can be asked."""
    from understudy import ConfigurationError, LLMFactory, conceal
    from understudy_cli.availability import unavailable_reason

    try:
        factory = LLMFactory()
    except ConfigurationError as error:
        if as_json:
            output.write_json({"error": conceal(str(error))})
        output.fail(error, output.USAGE)
    with factory:
        seats: list[dict[str, Any]] = []
        for target, provider in factory.route:
            reason = unavailable_reason(provider)
            available = reason is None
            model = target.model or getattr(provider, "default_model", None)
            reason = None if reason is None else conceal(reason)
            seats.append({"name": target.label, "available": available, "reason": reason, "model": model})
        current = factory.get_provider_status()["current"]
    if as_json:
        output.write_json({"primary": seats[0], "fallbacks": seats[1:], "current": current})
    else:
        _show(seats, current)
    if not any(seat["available"] for seat in seats):
        raise typer.Exit(output.FAILURE)


def _show(seats: list[dict[str, Any]], current: str) -> None:
    made = output.table("", "part", "provider", "model, or what is missing")
    for number, seat in enumerate(seats):
        part = "primary" if number == 0 else f"fallback {number}"
        last = output.words(seat["model"] or "", "dim") if seat["available"] else output.words(seat["reason"])
        made.add_row(output.mark(seat["available"]), output.words(part), output.words(seat["name"], "bold"), last)
    output.show(made)
    if not any(seat["available"] for seat in seats):
        output.complain("nobody on the route can be asked; `understudy doctor` tells why")
    elif current != seats[0]["name"]:
        output.say(f"the next call asks {current} first", "yellow")
    if len(seats) == 1:
        output.say("There is no fallback: LLM_FALLBACK_PROVIDERS=NAME,NAME names who takes the part.", "dim")
