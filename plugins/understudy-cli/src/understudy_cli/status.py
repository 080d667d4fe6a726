"""`understudy status`: the route as it is configured, who on it can be asked now, and how they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from rich.text import Text


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the configured route, and the health of each target. The exit code is 1 when nobody on it can be asked.

    Health is kept in the process that makes the calls, and this one makes none: so every circuit is closed here.

    Only if an extension in LLM_EXTENSIONS provides a health store that processes share, it is that of the others.
    """
    from understudy import ConfigurationError, LLMFactory
    from understudy.masking import conceal
    from understudy_cli.availability import unavailable_reason

    try:
        factory = LLMFactory()
    except ConfigurationError as error:
        if as_json:
            output.write_json({"error": conceal(str(error))})
        output.fail(error, output.USAGE)
    with factory:
        known = factory.get_provider_status()
        current = known["current"]
        seats: list[dict[str, Any]] = []
        for (target, provider), seat in zip(factory.route, [known["primary"], *known["fallbacks"]], strict=True):
            reason = unavailable_reason(provider)
            available = reason is None
            model = target.model or getattr(provider, "default_model", None)
            reason = None if reason is None else conceal(reason)
            seats.append(
                {
                    "name": target.label,
                    "available": available,
                    "reason": reason,
                    "model": model,
                    "health": seat["health"],
                }
            )
    if as_json:
        output.write_json({"primary": seats[0], "fallbacks": seats[1:], "current": current})
    else:
        _show(seats, current)
    if not any(seat["available"] for seat in seats):
        raise typer.Exit(output.FAILURE)


def _show(seats: list[dict[str, Any]], current: str | None) -> None:
    measured = any(seat["health"][key] for seat in seats for key in ("failures", "latency", "first_token"))
    made = output.table(
        *("", "part", "provider", "circuit"),
        *((">failures", ">latency") if measured else ()),
        "model, or what is missing",
    )
    made.columns[1].no_wrap = made.columns[2].no_wrap = True  # names are shown in full, to be copied
    for number, seat in enumerate(seats):
        part = "primary" if number == 0 else f"fallback {number}"
        last = output.words(seat["model"] or "", "dim") if seat["available"] else output.words(seat["reason"])
        cells = [output.words(part), output.words(seat["name"], "bold"), _circuit(seat["health"])]
        made.add_row(output.mark(seat["available"]), *cells, *(_numbers(seat["health"]) if measured else ()), last)
    output.show(made)
    if not any(seat["available"] for seat in seats):
        output.complain("nobody on the route can be asked; `understudy doctor` says why")
    elif current != seats[0]["name"]:
        output.say(f"the next call asks {current} first", "yellow")
    if len(seats) == 1:
        output.say("There is no fallback: LLM_FALLBACK_PROVIDERS=NAME,NAME names the providers that take over.", "dim")


def _circuit(health: dict[str, Any]) -> Text:
    state, free_in = health["state"], health["free_in"]
    words = f"{state}, back in {free_in:.3g} s" if free_in else state
    return output.words(words, "dim" if state == "closed" else "yellow")


def _numbers(health: dict[str, Any]) -> tuple[Text, Text]:
    latency, first = health["latency"], health["first_token"]
    began = "-" if first is None else f"{first:.2f} s to begin"  # where all calls are streams
    return output.words(health["failures"]), output.words(began if latency is None else f"{latency:.2f} s")
