"""`understudy ask`: one question, one answer, from the first provider that can give it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy_cli import output

if TYPE_CHECKING:
    from understudy import LLMFactory, LLMResponse

# The command itself says the first two in more detail, and ends before anything is skipped.
TOLD_HERE = ("All LLM providers failed", "no other provider is asked", "until its key, model or URL changes")


def ask(
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to ask. Standard input is the prompt, or is added to this one.", show_default=False),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", "-p", help="The provider to ask first: a name, or NAME:MODEL.", metavar="NAME"),
    ] = None,
    fallback: Annotated[
        list[str] | None,
        typer.Option("--fallback", "-f", help="The fallbacks, in order; repeat it, or use commas.", metavar="NAME"),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="patient or eager; LLM_POLICY unless given.", metavar="NAME")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model of the first provider.")] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="Instructions for the model.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 (the likeliest words) to 2; left to the model unless given.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one attempt.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds for the whole call, retries included.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="Retries of one provider after a passing failure.")] = None,
    retry_delay: Annotated[
        float | None, typer.Option(help="Seconds before the first retry, doubled for each further one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the text.")] = False,
    attempts: Annotated[bool, typer.Option("--attempts", help="Show afterwards who was asked, and why.")] = False,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Show the answer as it comes.")] = True,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log to standard error.")] = False,
) -> None:
    """Ask for text. When the first provider cannot go on, a fallback takes over.

    The answer goes to standard output, everything else to standard error.
    """
    output.show_log(verbose, TOLD_HERE)
    text = read_prompt(prompt)
    numbers = {"max_retries": max_retries, "retry_delay": retry_delay}
    options: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    options |= {"system": system, "model": model, "timeout": timeout, "deadline": deadline}
    options |= {"temperature": temperature, "max_tokens": max_tokens}
    with _open_factory(provider, fallback, policy, as_json) as factory:
        try:
            if stream and not as_json:
                response = _stream(factory, text, options)
            else:
                response = factory.generate_content(text, **options)
        except (ValueError, TypeError) as error:
            _refuse(str(error), as_json)
        _show(response, as_json, streamed=stream)
        if attempts:
            from understudy_cli.attempts import table_of

            output.show(table_of(response.attempts), stderr=True)
        if not response.success:
            _explain(response, factory)
            raise typer.Exit(output.FAILURE)


def read_prompt(prompt: str | None) -> str:
    """Combine the argument and standard input; `-` stands for standard input alone."""
    given = "" if prompt in (None, "-") else str(prompt)
    try:
        piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
        text = "\n\n".join(part for part in (given, piped) if part.strip())
        text.encode()  # what is not text may also have come in as lone surrogates
    except UnicodeError:
        output.fail("expected the prompt as text in UTF-8, found other bytes", output.USAGE)
    if not text:
        output.fail('expected something to ask, as in: understudy ask "Why is the sky blue?"', output.USAGE)
    return text


def _open_factory(provider: str | None, fallback: list[str] | None, policy: str | None, as_json: bool) -> LLMFactory:
    from understudy import LLMFactory, Settings
    from understudy.errors import UnknownProvider
    from understudy_cli import availability

    fallbacks = availability.split_names(fallback)
    try:
        settings = Settings()
        configured = settings.find("LLM_PRIMARY_PROVIDER", "LLM_FALLBACK_PROVIDERS")
        chosen = provider is not None or bool(fallbacks) or configured is not None
        try:
            factory = LLMFactory(provider, fallbacks, settings=settings, policy=policy)
        except UnknownProvider:
            if chosen:
                raise
            factory = None
    except ValueError as error:  # a ConfigurationError is one
        _refuse(str(error), as_json)
    if factory is not None and (chosen or any(availability.is_ready(seat) for _, seat in factory.route)):
        return factory
    if as_json:
        output.write_json(_nothing("no provider is set up"))
    availability.show_ways_on(settings)
    raise typer.Exit(output.USAGE)


def _stream(factory: LLMFactory, text: str, options: dict[str, Any]) -> LLMResponse:
    from understudy import Finish, LLMResponse, StreamInterrupted, TextDelta

    last = "\n"
    response = LLMResponse(False, error="the stream ended without an answer")
    try:
        for event in factory.stream_content(text, **options):
            if isinstance(event, TextDelta) and event.text:
                output.write(event.text)
                last = event.text
            elif isinstance(event, Finish):
                response = event.response
    except StreamInterrupted as failure:
        provider, said = failure.provider, str(failure)
        response = LLMResponse(False, failure.partial, provider, said, attempts=failure.attempts, failure=failure)
    finally:
        if not last.endswith("\n"):
            output.write("\n")
    return response


def _show(response: LLMResponse, as_json: bool, streamed: bool) -> None:
    if as_json:
        output.write_json(_as_json(response))
        return
    if response.success and not streamed:
        output.write(response.content if response.content.endswith("\n") else response.content + "\n")
    for warning in response.warnings:
        output.say(f"warning: {warning}", "yellow")
    if response.finish_reason == "length":
        output.say("warning: the answer was cut at its limit of tokens; --max-tokens sets another", "yellow")


def _as_json(response: LLMResponse) -> dict[str, Any]:
    from dataclasses import asdict

    from understudy.masking import conceal
    from understudy_cli.attempts import as_json

    return {
        "success": response.success,
        "content": response.content,
        "provider": response.provider_name or None,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "usage": asdict(response.usage) if response.usage else None,
        "warnings": [{"setting": one.setting, "message": one.message} for one in response.warnings],
        "request_id": response.request_id,
        "cost": response.cost,
        "attempts": [as_json(attempt) for attempt in response.attempts],
        "error": conceal(response.error) if response.error else None,
    }


def _nothing(error: str) -> dict[str, Any]:
    from understudy import LLMResponse

    return _as_json(LLMResponse(False, error=error))


def _refuse(error: str, as_json: bool) -> Any:
    if as_json:
        output.write_json(_nothing(error))
    output.fail(error, output.USAGE)


def _explain(response: LLMResponse, factory: LLMFactory) -> None:
    """Show each target's failure and how to fix it."""
    from understudy import AllProvidersFailed
    from understudy.errors import UnknownFailure
    from understudy_cli.cures import describe, find_cure

    failure = response.failure or UnknownFailure(response.error or "no reason given", provider=response.provider_name)
    if isinstance(failure, AllProvidersFailed):
        output.complain("nobody could answer")
        failed = [(target.label, one) for (target, _), one in zip(factory.route, failure.failures, strict=True)]
    else:
        output.complain("there is no whole answer" if response.content else "there is no answer")
        failed = [(failure.provider, failure)]
    for label, one in failed:
        output.say(f"{label}: {describe(one)}", indent=2)
        if cure := find_cure(one):
            output.say(cure, "cyan", indent=4)
