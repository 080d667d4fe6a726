"""`understudy sandbox`: the stand-ins for the vendors' HTTP APIs, in the foreground."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from understudy_sandbox import Fault, RecordedRequest, Sandbox

LOOK_EVERY = 0.1  # seconds between two checks for new requests: often enough for somebody who watches
MISSING = "the stand-ins are not installed: they are in {}"


def _port(vendor: str) -> Any:
    """Describe the option for one stand-in's port."""
    return typer.Option(help=f"Port of {vendor}'s stand-in; 0: a free one.", metavar="PORT", min=0, max=65535)


def sandbox(
    gemini_port: Annotated[int, _port("Gemini")] = 0,
    claude_port: Annotated[int, _port("Claude")] = 0,
    openai_port: Annotated[int, _port("OpenAI")] = 0,
    cohere_port: Annotated[int, _port("Cohere")] = 0,
    ollama_port: Annotated[int, _port("Ollama")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help='The fault of the next request, as in "gemini: rate_limited retry_after=30"; repeatable.',
        ),
    ] = None,
    always: Annotated[
        list[str] | None,
        typer.Option(metavar="FAULT", help='The fault of every request, as in "claude: overloaded"; repeatable.'),
    ] = None,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults and exit.")] = False,
) -> None:
    """Run local stand-ins for the vendors until Ctrl-C. They answer without any model, and fail on request.

    The variables to export go to standard output, a line for each request to standard error.
    """
    try:
        from understudy_sandbox import Sandbox
    except ModuleNotFoundError as error:
        if error.name != "understudy_sandbox":
            raise
        from understudy.discovery.packages import source_of

        output.fail(MISSING.format(source_of("understudy-sandbox")), output.USAGE)
    if faults:
        _list_faults()
        return
    stand_ins = Sandbox(
        gemini_port=gemini_port,
        claude_port=claude_port,
        openai_port=openai_port,
        cohere_port=cohere_port,
        ollama_port=ollama_port,
    )
    next_faults = [_read_fault(text, stand_ins) for text in fault or ()]
    standing = [_read_fault(text, stand_ins) for text in always or ()]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        stand_ins.start()
    except OSError as error:
        output.fail(error.strerror or error, output.USAGE)
    try:
        for name, one in next_faults:
            stand_ins[name].next(one)
        for name, one in standing:
            stand_ins[name].always(one)
        for variable, value in stand_ins.environment().items():
            output.write(f"export {variable}={shlex.quote(value)}\n")
        output.say("These are stand-ins on this machine: no model is asked. Ctrl-C stops them.", "dim")
        _show_requests(stand_ins, stop)
    finally:
        stand_ins.close()


def _read_fault(text: str, stand_ins: Sandbox) -> tuple[str, Fault]:
    from understudy_sandbox import faults

    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon or name not in stand_ins.vendors:
        known = ", ".join(stand_ins.vendors)
        output.fail(f'expected a fault as "PROVIDER: FAULT" with a provider of {known}, found {text!r}', output.USAGE)
    try:
        return name, faults.parse(rest)
    except ValueError as error:
        output.fail(error, output.USAGE)


def _list_faults() -> None:
    import inspect

    from understudy_sandbox import faults

    made = output.table("fault", "options", "what happens")
    for name, build in faults.ALL.items():
        options = " ".join(
            parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default}"
            for parameter in inspect.signature(build).parameters.values()
        )
        what = (inspect.getdoc(build) or "").partition("\n")[0]
        made.add_row(output.words(name, "bold"), output.words(options, "dim"), output.words(what))
    output.show(made)


def _show_requests(stand_ins: Sandbox, stop: threading.Event) -> None:
    shown: dict[str, RecordedRequest] = {}
    while not stop.wait(LOOK_EVERY):
        for name, stand_in in stand_ins.vendors.items():
            requests = stand_in.requests
            last = shown.get(name)
            if requests and requests[-1] is not last:
                seen = requests.index(last) + 1 if last in requests else 0
                for request in requests[seen:]:
                    _show_request(name, request)
                shown[name] = requests[-1]


def _show_request(name: str, request: RecordedRequest) -> None:
    from rich.text import Text

    met = output.words(request.fault, "red") if request.fault else Text("healthy", "green")
    line = Text.assemble(
        (time.strftime("%H:%M:%S"), "dim"),
        "  ",
        (f"{name:<7}", "bold"),
        output.words(f" {request.method} {request.path}  "),
        met,
    )
    output.console(stderr=True).print(line, soft_wrap=True)
