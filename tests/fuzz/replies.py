"""Whole replies and streams, of every provider, from memory: no socket is opened."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as some

from fuzz import bodies, held
from fuzz.corpus import KEY, VENDORS, corpus, request_to
from fuzz.lane import Sent
from understudy import Failure, Message, Request
from understudy.messages import in_whole_characters
from understudy_toolkit.bodies import Decoder

MEMORIES = ("understudy_claude.refusals", "understudy_cohere.refusals", "understudy_gemini_wire.refusals")
MEMORIES += ("understudy_openai.adapting", "understudy_ollama.refusals")


@cache
def loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all examples."""
    return asyncio.new_event_loop()


def forget() -> None:
    """Forget what models have refused, as between two tests."""
    import sys

    for name in MEMORIES:
        if hasattr(sys.modules.get(name), "forget"):
            sys.modules[name].forget()


@some.composite
def whole_replies(draw: Any, everything: bool = True) -> tuple[str, Request, Sent]:
    """A vendor, what it was asked, and a reply that is spoiled."""
    label = draw(some.sampled_from(tuple(VENDORS)))
    known = corpus(everything).whole[label]
    asked, sent = draw(some.sampled_from(known))
    sent = bodies.whole(draw, sent, [other for _, other in known])
    return label, request_to(label, asked), sent


@some.composite
def stream_replies(draw: Any, everything: bool = True) -> tuple[str, Request, Sent]:
    """A vendor, what it was asked, and a stream that is spoiled."""
    label = draw(some.sampled_from(tuple(VENDORS)))
    known = corpus(everything).streams[label]
    asked, sent = draw(some.sampled_from(known))
    sent = bodies.stream(draw, sent, [other for _, other in known])
    return label, request_to(label, asked, whole=draw(some.booleans())), sent


@some.composite
def cut_streams(draw: Any, everything: bool = True) -> tuple[str, Request, Sent, Sent]:
    """A sound stream, and the same cut off somewhere."""
    label = draw(some.sampled_from(tuple(VENDORS)))
    asked, sent = draw(some.sampled_from([one for one in corpus(everything).streams[label] if one[1].status == 200]))
    end = draw(some.integers(0, len(sent.body)))
    return label, request_to(label, asked), sent, bodies.pieces(draw, replace(sent, body=sent.body[:end]))


@some.composite
def rewritten_streams(draw: Any, everything: bool = True) -> tuple[str, Request, Sent, Sent]:
    """A sound stream, and the same with other line ends, comments, a byte order mark, in other pieces."""
    label = draw(some.sampled_from(tuple(VENDORS)))
    asked, sent = draw(some.sampled_from([one for one in corpus(everything).streams[label] if one[1].status == 200]))
    body, sse = sent.body, "event-stream" in dict(sent.headers).get("content-type", "")
    if sse:
        if draw(some.booleans()):
            body = body.replace(b"data: ", b"data:")
        events = body.replace(b"\r\n", b"\n").split(b"\n\n")
        for _ in range(draw(some.integers(0, 3))):
            events.insert(draw(some.integers(0, len(events) - 1)), draw(some.sampled_from((b": ping", b":", b"id: 7"))))
        body = b"\n\n".join(events).replace(b"\n", draw(some.sampled_from((b"\n", b"\r\n", b"\r"))))
    if draw(some.booleans()):
        body = b"\xef\xbb\xbf" + body
    return label, request_to(label, asked), sent, bodies.pieces(draw, replace(sent, body=body))


@some.composite
def large_replies(draw: Any, everything: bool = True) -> tuple[str, Request, Sent, bool]:
    """A reply, whole or a stream, in which one text is very long or one part is there very often."""
    label = draw(some.sampled_from(tuple(VENDORS)))
    as_stream = draw(some.booleans())
    known = (corpus(everything).streams if as_stream else corpus(everything).whole)[label]
    asked, sent = draw(some.sampled_from(known))
    size = draw(some.sampled_from((2**16, 2**20, 2**21)))
    stuff = draw(some.sampled_from(STUFF)) + draw(some.sampled_from(("", "", *ENDS)))
    texts = [match.start(1) for match in bodies._MESSAGES.finditer(sent.body)] + [
        place for place in range(len(sent.body)) if sent.body.startswith(b'"text": "', place)
    ]
    long = (stuff * (size // len(stuff) + 1))[:size].encode("unicode_escape", "surrogatepass").replace(b'"', b"'")
    if texts and draw(some.booleans()):
        place = texts[draw(some.integers(0, len(texts) - 1))]
        body = sent.body[:place] + long.replace(b"\\x", b"\\u00") + sent.body[place:]
    else:
        begin = draw(some.integers(0, len(sent.body)))
        end = draw(some.integers(begin, min(len(sent.body), begin + 400)))
        unit = sent.body[begin:end] or b" "
        body = sent.body[:begin] + unit * (size // len(unit)) + sent.body[end:]
    status = draw(some.sampled_from((sent.status, sent.status, 400, 429, 500)))
    cuts = tuple(range(2**14, len(body), 2**14))
    return label, request_to(label, asked), replace(sent, body=body, cuts=cuts, status=status), as_stream


STUFF = (
    *("a", "9", " ", "\n", "<", "(", "[", "{", "}", "://", "sk-", "sk-a@", ".", "-", "1.", "9m", "retry in 9", "'a'"),
    *("a.b", "bearer ", "<think>", "</think>", "```", "```json ", "max_tokens: ", "tokens ", "models/", "a b"),
    *("(9 of text input", "exceed context limit: 9 + ", "maximum context length is 9 tokens ", "9, ", "@", "a@", "\\"),
)
ENDS = ("a", " ", "9", "@", ">")


def check_whole(example: tuple[str, Request, Sent], *, measured: bool = False) -> None:
    """Hold what is promised of a whole reply, sync and async, and that the conversation can go on."""
    label, request, sent = example
    known = corpus()
    provider, known.lanes[label].sent = known.providers[label], sent
    forget()
    with held.in_time(), held.listening():
        outcome = held.ask(provider, request)
        forget()
        if type(provider).agenerate is not _agenerate():
            again = loop().run_until_complete(held.aask(provider, request))
            assert again.told() == outcome.told(), (again.told(), outcome.told())
            held.check(again)
        held.check(outcome, plain(sent))
        if outcome.response is not None:
            go_on(label, request, outcome)


def check_stream(example: tuple[str, Request, Sent]) -> None:
    """Hold what is promised of a stream: sync and async, in these pieces and in one."""
    label, request, sent = example
    known = corpus()
    provider, lane = known.providers[label], known.lanes[label]
    with held.in_time(), held.listening():
        outcome = _streamed(label, request, sent)
        held.check(outcome, plain(sent))
        forget()
        if "content-encoding" not in dict(sent.headers):  # how far what is broken inflates depends on the cuts
            lane.sent = replace(sent, cuts=())
            at_once = held.stream(provider, request)
            assert at_once.told() == outcome.told(), (at_once.told(), outcome.told())
            lane.sent = sent
        if type(provider).astream is not _astream():
            forget()
            again = loop().run_until_complete(held.astream(provider, request))
            assert again.told() == outcome.told(), (again.told(), outcome.told())
        if outcome.response is not None:
            go_on(label, request, outcome)


def _streamed(label: str, request: Request, sent: Sent) -> held.Outcome:
    """Return what becomes of a stream, for a provider that knows nothing of earlier ones."""
    forget()
    known = corpus()
    known.lanes[label].sent = sent
    return held.stream(known.providers[label], request)


def check_cut(example: tuple[str, Request, Sent, Sent]) -> None:
    """Hold that half a stream is never taken for an answer: a success has all that the whole stream has."""
    label, request, sent, cut = example
    with held.in_time(), held.listening():
        whole, outcome = _streamed(label, request, sent), _streamed(label, request, cut)
        held.check(outcome, cut)
        if outcome.response is not None:
            assert whole.response is not None, whole
            assert outcome.response.content == whole.response.content
            assert len(outcome.response.tool_calls) == len(whole.response.tool_calls)
        elif whole.response is not None and whole.text:
            assert whole.text.startswith(outcome.text), (whole.text, outcome.text)


def check_rewritten(example: tuple[str, Request, Sent, Sent]) -> None:
    """Hold that the same stream, written in another way, has the same outcome."""
    label, request, sent, rewritten = example
    with held.in_time(), held.listening():
        whole, outcome = _streamed(label, request, sent), _streamed(label, request, rewritten)
        held.check(outcome, sent)
        assert outcome.told() == whole.told(), (outcome.told(), outcome.failure, whole.told())


def check_large(example: tuple[str, Request, Sent, bool]) -> None:
    """Hold that what is large needs no more than its share of memory and time."""
    label, request, sent, as_stream = example
    known = corpus()
    provider, known.lanes[label].sent = known.providers[label], sent
    forget()
    with held.in_time(), held.listening():
        with held.within(len(sent.body)):
            outcome = (held.stream if as_stream else held.ask)(provider, request)
        held.check(outcome)


def go_on(label: str, request: Request, outcome: held.Outcome) -> None:
    """Hold that an answer can be a turn of a conversation that goes on, with its own vendor and with another."""
    assert outcome.response is not None
    message = in_whole_characters(outcome.response.message)
    results = tuple(_result(call) for call in outcome.response.tool_calls)
    answer = (Message("tool", results),) if results else (Message.user("Go on."),)
    known = corpus()
    for other in (label, "claude", "openai", "openai-responses", "gemini", "gemini-legacy", "cohere", "ollama"):
        longer = replace(request, messages=(*request.messages, message, *answer), options=VENDORS[other].options)
        try:
            call = known.providers[other]._prepare(longer)
            from understudy_toolkit.bodies import write_json

            write_json(call.ask.body)
        except Exception as failure:
            held.check_turn(failure)


def _result(call: Any) -> Any:
    from understudy import ToolResult

    return ToolResult(call_id=call.id, name=call.name, content="fine")


@cache
def _agenerate() -> Any:
    from understudy import ChatProvider

    return ChatProvider.agenerate


@cache
def _astream() -> Any:
    from understudy import ChatProvider

    return ChatProvider.astream


def plain(sent: Sent) -> Sent:
    """Return a reply with its body decoded, as far as it can be."""
    from understudy_toolkit.lanes import Headers

    pieces: list[bytes] = []
    with suppress(Failure):  # it cannot be decoded to its end
        decoder = Decoder(Headers(sent.headers))
        for data in sent.pieces():
            pieces += decoder.feed(data)
    return replace(sent, body=b"".join(pieces))


def shown(sent: Sent) -> str:
    """Return a reply in few words."""
    return f"{sent.status} {dict(sent.headers)} {sent.body[:3000]!r} cut at {sent.cuts[:20]}".replace(KEY, "KEY")
