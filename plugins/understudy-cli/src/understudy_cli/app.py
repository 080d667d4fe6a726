"""The table of contents of the `understudy` command: one module for each command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from understudy_cli import ask, demo, doctor, explain, lock, new_provider, output, providers, sandbox, status
from understudy_cli.flags import PlainGroup, PlainTyper

EXIT_CODES = (
    "Exit codes: 0 it worked; 1 nobody could answer, or problems were found; 2 the command line or the configuration "
    "is wrong; 130 interrupted with Ctrl-C."
)

app = PlainTyper(
    name="understudy",
    cls=PlainGroup,
    help="Ask one LLM provider, and let another take over when that one cannot go on.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show local variables, which may hold keys
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask")(ask.ask)
app.command("explain")(explain.explain)
app.command("providers")(providers.providers)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("lock")(lock.lock)
app.command("new-provider")(new_provider.new_provider)
app.command("sandbox")(sandbox.sandbox)
app.command("demo")(demo.demo)
BUILT_IN = ("ask", "explain", "providers", "status", "doctor", "lock", "new-provider", "sandbox", "demo")


def _show_version(wanted: bool) -> None:
    if wanted:
        import understudy
        from understudy_cli import __version__

        python = sys.version.split()[0]
        output.write(f"understudy-cli {__version__}, understudy {understudy.__version__}, Python {python}\n")
        raise typer.Exit


@app.callback()
def understudy(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the versions and exit.")
    ] = False,
) -> None:
    """Ask one LLM provider, and let another take over when that one cannot go on."""


def add_extension_commands() -> None:
    """Let the extensions named in LLM_EXTENSIONS add their commands; one that fails is reported and left out."""
    from understudy import ConfigurationError, Settings
    from understudy.discovery import load_extensions

    try:
        settings = Settings()
        names = settings.names("LLM_EXTENSIONS")
    except ConfigurationError:
        return  # the command itself will report it
    for name in names:
        try:
            manager = load_extensions([name], settings)
            if manager is not None:
                manager.hook.understudy_commands(app=app)
        except ConfigurationError as error:
            output.say(f"warning: LLM_EXTENSIONS: {error}", "yellow")
        except Exception as error:
            output.say(f"warning: LLM_EXTENSIONS: {name} failed to add its commands: {error!r}", "yellow")


def main() -> None:
    """Run the command; an expected error is a sentence, not a traceback."""
    output.prepare_streams()
    named = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        if named not in BUILT_IN and "--version" not in sys.argv:
            add_extension_commands()  # this package's own commands do not need it, and start sooner
        app(prog_name="understudy")
    except KeyboardInterrupt:
        sys.exit(output.INTERRUPTED)
    except BrokenPipeError:
        output.hush()
        sys.exit(output.FAILURE)
    except Exception as error:
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    from understudy import ConfigurationError
    from understudy.masking import conceal

    if isinstance(error, ConfigurationError):
        output.complain(error)
        return output.USAGE
    if isinstance(error, OSError):  # a full disk, a file that cannot be written
        output.complain(error)
        output.hush()  # otherwise the remaining output fails again when Python exits
        return output.FAILURE
    import traceback

    sys.stderr.write(conceal("".join(traceback.format_exception(error))))
    output.complain("this is a mistake in the program; please report it with the lines above")
    return output.FAILURE
