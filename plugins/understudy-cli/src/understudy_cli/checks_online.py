"""What `understudy doctor --online` asks the vendors: which models there are, and one tiny answer from each target.

Nothing here runs unless requested: the answers may cost something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

from understudy import ChatProvider, Failure, LLMFactory, LLMResponse, Policy
from understudy.errors import UnsupportedRequest
from understudy_cli import output
from understudy_cli.availability import Found, read_route
from understudy_cli.checks import Finding, Surroundings
from understudy_cli.cures import describe, find_cure

PROMPT = "Reply with the one word: yes"
MOST_TOKENS = 16  # of the answer: enough for a word in any language
PATIENCE = 60.0  # seconds for an answer: a local model may have to be loaded first
LIST_PATIENCE = 15.0  # seconds for a list of models
AT_ONCE = 8
NEAREST = 3  # models of the list that are named where the one asked for is not on it

_ONCE = Policy(max_retries=0, breaker=False, attempt_timeout=PATIENCE, first_token_timeout=PATIENCE)
_NO_VENDOR = ("echo",)  # answers by itself


@dataclass(frozen=True, slots=True)
class Visit:
    """The replies of one target.

    Args:
        target: the route's own words, or a provider's name.
        on_route: whether it is on the route: what fails there is a problem.
        models: the models that the vendor lists; None where it has no list.
        listing: why there is no list; None where there is one, or the vendor has none.
        response: the answer, or why there is none.
        seconds: how long it took.
    """

    target: str
    on_route: bool
    models: tuple[str, ...] | None
    listing: Failure | None
    response: LLMResponse
    seconds: float


def check_online(around: Surroundings) -> Iterator[Finding]:
    """Ask every configured vendor, all at the same time, and yield what came back."""
    asked = targets_of(around)
    if not asked:
        cure = "set a vendor's key, or start a local server; `understudy providers` lists who needs what"
        yield Finding("online", False, "no vendor is configured, so none was asked", cure)
        return
    with ThreadPoolExecutor(AT_ONCE) as threads:
        visits = list(threads.map(lambda target: visit(around, *target), asked))
    for each in visits:
        yield from findings_of(each)


def targets_of(around: Surroundings) -> list[tuple[str, Found, bool]]:
    """Return who is asked, and whether that is on the route: every stop, and every other configured provider."""
    route = list(dict.fromkeys(stop.strip() for stop in read_route(around.settings)))
    named = {stop.partition(":")[0] for stop in route}
    others = [one.name for one in around.found if one.name not in named]
    found = [(stop, around.known(stop.partition(":")[0]), stop in route) for stop in (*route, *others)]
    ready = [(stop, one, on_route) for stop, one, on_route in found if one is not None and one.state == "available"]
    return [(stop, one, on_route) for stop, one, on_route in ready if on_route or one.name not in _NO_VENDOR]


def visit(around: Surroundings, target: str, found: Found, on_route: bool) -> Visit:
    """Ask one target for its list of models and for an answer."""
    models, listing = _list(found)
    with LLMFactory(target, [], settings=around.settings, policy=_ONCE, extensions=[]) as factory:
        factory.warm_up()  # so that the vendor's time is measured without that of imports
        began = monotonic()
        response = factory.generate_content(PROMPT, temperature=None, max_tokens=MOST_TOKENS)
        return Visit(target, on_route, models, listing, response, monotonic() - began)


def _list(found: Found) -> tuple[tuple[str, ...] | None, Failure | None]:
    if not isinstance(found.provider, ChatProvider):
        return None, None
    try:
        return found.provider.list_models(LIST_PATIENCE), None
    except UnsupportedRequest:
        return None, None
    except Failure as failure:
        return None, failure
    finally:
        found.provider.close()


def findings_of(visit: Visit) -> Iterator[Finding]:
    """Put a target's replies into words."""
    about, response = f"online {visit.target}", visit.response
    if not response.success:
        failure = response.attempts[-1].failure if response.attempts else response.failure
        what = describe(failure) if failure is not None else response.error or "no reason given"
        cure = find_cure(failure) if failure is not None else ""
        yield Finding(about, False if visit.on_route else None, f"did not answer: {what}", cure)
    else:
        yield Finding(about, True, _answered(visit))
        for warning in response.warnings:
            yield Finding(about, None, str(warning))
    if visit.listing is not None:
        yield Finding(about, None, f"its list of models could not be fetched: {describe(visit.listing)}")
    elif visit.models is not None:
        yield from _check_list(about, visit.models, _asked_model(visit))


def _answered(visit: Visit) -> str:
    response, usage = visit.response, visit.response.usage
    said = " ".join(response.content.split())[:40]
    tokens = "" if usage is None else f", {usage.input_tokens} tokens in and {usage.output_tokens} out"
    thought = f" ({usage.thinking_tokens} of them thinking)" if usage is not None and usage.thinking_tokens else ""
    cost = "" if response.cost is None else f", {output.dollars(response.cost)}"
    again = f", in {len(response.attempts)} attempts" if len(response.attempts) > 1 else ""
    return f"{response.model} said {said!r} in {visit.seconds:.1f} s{again}{tokens}{thought}{cost}"


def _asked_model(visit: Visit) -> str:
    _, _, named = visit.target.partition(":")
    attempts = visit.response.attempts
    return named or (attempts[-1].model if attempts else None) or visit.response.model or ""


def _check_list(about: str, models: Sequence[str], asked: str) -> Iterator[Finding]:
    if not models:
        yield Finding(about, None, "its list of models is empty")
    elif not asked or any(_is_same(asked, model) for model in models):
        yield Finding(about, True, f"lists {len(models)} models")
    else:
        import difflib

        near = difflib.get_close_matches(asked, models, NEAREST, 0.4)
        cure = f"similar ones are {', '.join(near)}" if near else ""
        yield Finding(about, None, f"lists {len(models)} models, and {asked} is not among them", cure)


def _is_same(asked: str, listed: str) -> bool:
    """Whether two names mean one model: lists have prefixes, tags and days that a request may leave out."""
    asked, listed = asked.rpartition("/")[2], listed.rpartition("/")[2]
    return listed == asked or listed.startswith((f"{asked}:", f"{asked}-")) or asked.startswith(f"{listed}-")
