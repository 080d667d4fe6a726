"""`understudy explain`: who would be asked now, and with --full what each failure would lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from understudy.explain import Plan, PlannedTarget

NOTHING = ("", "-")  # not shown if every target has it
STYLES = {"asked": "green", "only if": "", "skipped": "yellow"}


def explain(
    prompt: Annotated[
        str, typer.Argument(help="What would be asked; its length affects the price. `-`: standard input.")
    ] = "Hello",
    primary: Annotated[
        str | None,
        typer.Option(
            "--primary",
            "--provider",
            "-p",
            help="The provider to ask first: a name, or NAME:MODEL.",
            metavar="NAME",
        ),
    ] = None,
    fallbacks: Annotated[
        list[str] | None,
        typer.Option(
            "--fallbacks",
            "--fallback",
            "-f",
            help="The fallbacks, in order; repeat it, or use commas.",
            metavar="NAME",
        ),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="patient or eager; LLM_POLICY unless given.", metavar="NAME")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model of the first provider.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of answer.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one attempt.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds for the whole call, retries included.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="Retries of one provider after a passing failure.")] = None,
    retry_delay: Annotated[
        float | None, typer.Option(help="Seconds before the first retry, doubled for each further one.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Also say what follows each failure, and show the policy's times and limits.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, always in full.")] = False,
) -> None:
    """Say who would be asked now, in which order and why; with --full also what each failure would lead to.

    Nothing is sent. The options are those of `understudy ask`.

    The exit code is 1 when nobody can be asked.
    """
    from understudy import LLMFactory
    from understudy.masking import conceal
    from understudy_cli.ask import read_prompt
    from understudy_cli.availability import split_names

    numbers = {"max_retries": max_retries, "retry_delay": retry_delay, "max_tokens": max_tokens}
    options: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    options |= {"model": model, "timeout": timeout, "deadline": deadline}
    text = read_prompt(prompt) if prompt == "-" else prompt
    try:
        with LLMFactory(primary, split_names(fallbacks), policy=policy) as factory:
            plan = factory.plan(text, **options)
    except (ValueError, TypeError) as error:
        if as_json:
            output.write_json({"error": conceal(str(error))})
        output.fail(error, output.USAGE)
    if as_json:
        output.write_json(_as_json(plan))
    else:
        _show(plan, full)
    if plan.first is None:
        if not as_json:
            output.complain("nobody can be asked, so the call would fail at once; `understudy doctor` says why")
        raise typer.Exit(output.FAILURE)


def _show(plan: Plan, full: bool) -> None:
    output.show(_table_of(plan))
    output.show(output.words(""))
    head = str(plan).partition("\n\n")[0]
    output.show(output.words(" ".join(head.split()), "dim"))
    if not full:
        output.show(output.words("What follows each failure: understudy explain --full", "dim"))
        return
    output.show(output.words(""))
    before = ""
    for line in plan.policy.explain().splitlines():
        output.show(output.words(line, "" if before or line.startswith(" ") else "bold"))
        before = line


def _table_of(plan: Plan) -> Table:
    """Make the table of a plan; columns without any value are left out."""
    told = {
        "target": [_name(one) for one in plan.targets],
        "now": [_now(one) for one in plan.targets],
        ">time": [output.words(f"{one.timeout:.3g} s" if one.timeout else "-") for one in plan.targets],
        ">price": [output.words(output.dollars(one.price if one.timeout else None)) for one in plan.targets],
        "on a passing failure": [output.words(one.on_failure or "-") for one in plan.targets],
    }
    told = {name: cells for name, cells in told.items() if any(cell.plain not in NOTHING for cell in cells)}
    made = output.table("", *told)
    made.columns[1].no_wrap = True  # names are shown in full, to be copied
    for number, row in enumerate(zip(*told.values(), strict=True), 1):
        made.add_row(output.words(number, "dim"), *row)
    return made


def _name(one: PlannedTarget) -> Text:
    name = output.words("").append_text(output.words(one.label, "bold"))
    if one.model and not one.label.endswith(f":{one.model}"):
        name.append("\n").append_text(output.words(one.model, "dim"))
    return name


def _now(one: PlannedTarget) -> Text:
    now = output.words(one.now)
    now.stylize(STYLES[one.part], 0, len(one.part))
    for unit, amount in one.left.items():
        now.append_text(output.words(f"\n{output.number(amount)} {unit} left", "dim"))
    return now


def _as_json(plan: Plan) -> dict[str, Any]:
    from dataclasses import asdict, fields

    from understudy.masking import conceal

    policy = {field.name: getattr(plan.policy, field.name) for field in fields(plan.policy)}
    if callable(policy["routing"]):
        policy["routing"] = repr(policy["routing"])
    targets = [asdict(one) | {"why": conceal(one.why)} for one in plan.targets]
    return {
        "targets": targets,
        "input_tokens": plan.input_tokens,
        "output_tokens": plan.output_tokens,
        "preset": plan.policy.preset,
        "policy": policy,
        "explanation": plan.policy.explain(),
    }
