"""`understudy demo`: the real plugins and their SDKs against stand-ins, in five scenes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from understudy import Settings
    from understudy_cli.stage import Stage
    from understudy_sandbox import Sandbox

NEEDED = {
    "understudy_sandbox": "understudy-sandbox",
    "understudy_gemini": "understudy-gemini",
    "understudy_claude": "understudy-claude",
}
NOTICE = (
    "Everything below happens on this machine: Gemini and Claude are stand-ins, no model is asked, no key is used. The "
    "plugins, the vendors' SDKs and the sockets are real."
)
PROMPT = "Why is the sky blue? Answer in one sentence."
PRIMARY, FALLBACK = "gemini", "claude"


def demo(
    scene: Annotated[int | None, typer.Option(help="Show only this scene, 1 to 5.", metavar="N", min=1, max=5)] = None,
    live: Annotated[
        bool, typer.Option("--live", help="First ask the real vendors whose keys are set; this may cost a little.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(help="Write the output as a picture, too.", metavar="FILE", dir_okay=False)
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write the output as plain text, too.", metavar="FILE", dir_okay=False)
    ] = None,
) -> None:
    """Watch an understudy take over, with stand-ins for the vendors: needs no key and no account."""
    _check_installed()
    for file in (svg, record):
        if file is not None and not file.parent.is_dir():
            output.fail(f"expected to write {file}, found no directory {file.parent}", output.USAGE)
    from understudy_cli.scenes import SCENES
    from understudy_cli.stage import Stage

    stage = Stage(recording=svg is not None or record is not None)
    if live:
        _show_live(stage)
    stage.announce(NOTICE)
    with _stand_ins(stage) as (sandbox, settings):
        for one in SCENES:
            if scene in (None, one.number):
                one.prepare(sandbox)
                stage.perform(one, PRIMARY, FALLBACK, settings)
    if svg:
        stage.save_svg(svg)
    if record:
        stage.save_text(record)


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        from understudy.discovery.packages import FOLDERS

        folders = ", ".join(FOLDERS[package] for package in missing)
        output.fail(f"the demo needs more packages: {folders}, in a clone", output.USAGE)


@contextlib.contextmanager
def _stand_ins(stage: Stage) -> Iterator[tuple[Sandbox, Settings]]:
    """Run the stand-ins, with settings that know nothing of the user's environment and `.env`."""
    from understudy import LLMFactory
    from understudy_cli.availability import settings_of_nobody
    from understudy_sandbox import Sandbox

    with Sandbox() as sandbox, settings_of_nobody(sandbox.environment()) as settings:
        # No proxy between the SDKs and this machine: they read that from the process's environment alone.
        os.environ |= {name: value for name, value in sandbox.environment().items() if name.lower() == "no_proxy"}
        with stage.busy("Loading the vendors' SDKs ..."):
            for name in (PRIMARY, FALLBACK):
                with LLMFactory(name, [], settings=settings, extensions=[]) as factory:
                    factory.generate_content("Are you there?", max_retries=0)
        yield sandbox, settings


def _show_live(stage: Stage) -> None:
    """Ask the real vendors whose keys are set, after saying what is about to be done."""
    from understudy import Settings
    from understudy_cli.availability import look

    settings = Settings()
    found = {one.name: one for one in look(settings)}
    cast = [found[name] for name in (PRIMARY, FALLBACK)]
    ready = [one for one in cast if one.state == "available"]
    if not ready:
        output.complain("--live needs the key of Gemini or Claude, and neither can be asked:")
        for one in cast:
            output.say(f"{one.name}: {one.short_reason or one.origin}", indent=2)
        raise typer.Exit(output.USAGE)
    names = [f"{one.name} ({one.model})" if one.model else one.name for one in ready]
    stage.announce(
        f"About to ask the real {' and '.join(names)} with your own key: one short question each, which may cost a "
        "little. The scenes after that run against stand-ins, because a real vendor does not fail on request."
    )
    for one in ready:
        stage.ask_live(one.name, PROMPT, settings)
