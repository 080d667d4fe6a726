"""`understudy doctor`: what is wrong with the setup, and how to fix it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from understudy_cli.checks import Finding

RESULTS = {True: "ok", False: "problem", None: "warning"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Ask each configured vendor for its list of models and one tiny answer, which may cost."
        ),
    ] = False,
) -> None:
    """Look for what is wrong with the setup, and say what to do. No vendor is asked without --online; no key is shown.

    The exit code is 1 when there is a problem; warnings alone leave it 0.
    """
    findings = _examine(online)
    problems = sum(1 for one in findings if one.good is False)
    warnings = sum(1 for one in findings if one.good is None)
    if as_json:
        from understudy.masking import conceal

        checks = [
            {"about": one.about, "result": RESULTS[one.good], "what": conceal(one.what), "cure": conceal(one.cure)}
            for one in findings
        ]
        output.write_json({"problems": problems, "warnings": warnings, "checks": checks})
    else:
        _show(findings)
        told = [_count(problems, "problem"), _count(warnings, "warning")]
        style = "red" if problems else "yellow" if warnings else "green"
        output.show(output.words("\n" + (", ".join(filter(None, told)) or "Everything is fine."), style))
    if problems:
        raise typer.Exit(output.FAILURE)


def _examine(online: bool) -> list[Finding]:
    from understudy import ConfigurationError
    from understudy_cli import checks, checks_of_host, checks_of_packages

    findings = [*checks_of_host.check_python(), *checks_of_packages.check_packages()]
    try:
        around = checks.Surroundings.look_around(os.environ)
    except ConfigurationError as error:
        about = "understudy.toml" if "understudy.toml" in str(error) else ".env"
        return [*findings, checks.Finding(about, False, str(error), "correct or remove the file")]
    for check in (
        checks.check_files,
        checks_of_host.check_secrecy,
        checks_of_packages.check_trust,
        checks.check_addresses,
        checks.check_names,
        checks.check_keys,
        checks.check_providers,
        checks.check_route,
        checks.check_models,
        checks.check_policy,
        checks.check_extensions,
    ):
        findings += check(around)
    if online:
        from understudy_cli.checks_online import check_online  # it asks vendors, so it is imported only on request

        findings += check_online(around)
    return findings


def _show(findings: list[Finding]) -> None:
    made = output.table("", "", "")
    made.show_header = False
    for one in findings:
        what = output.words(one.what)
        if one.cure:
            what = what.append("\n").append_text(output.words(one.cure, "cyan"))
        made.add_row(output.mark(one.good), output.words(one.about, "bold"), what)
    output.show(made)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
