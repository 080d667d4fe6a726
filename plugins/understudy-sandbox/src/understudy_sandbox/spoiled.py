"""The reply that a request gets, sound or spoiled by a fault; how it then travels is in delivery.py. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from understudy_sandbox.exchange import STAND_IN, Frame, RecordedRequest, Reply, json_reply, text_reply
from understudy_sandbox.faults import FAILURES, Fault
from understudy_sandbox.schedule import Scripted
from understudy_sandbox.vendors import Vendor

#: Every word has a character of several bytes, so that there is one to cut after any number of deltas.
ACCENTED = "Thé Ündérstüdy sändbóx cüts thïs réply ïnside ä chäräctér: ☕ ☕ ☕ ☕ ☕ ☕ ☕ ☕"
_PAGE = "<!DOCTYPE html><html><head><title>Understudy sandbox</title></head><body><h1>{code}</h1></body></html>\n"

TakeReply = Callable[[], Scripted | None]


def make_reply(vendor: Vendor, request: RecordedRequest, fault: Fault | None, take: TakeReply) -> Reply:
    """Make the reply that this request gets under this fault; ``take`` gives the next scripted reply."""
    if fault is None:
        return _sound(vendor, request, take)
    options = fault.options
    if fault.name in FAILURES:
        return vendor.failure(request, fault.name, options)
    match fault.name:
        case "status":
            return _status(vendor, request, options)
        case "blocked":
            return vendor.contentless(request, "blocked_prompt" if options["where"] == "prompt" else "blocked")
        case "empty" | "out_of_tokens":
            return vendor.contentless(request, fault.name)
        case "html_page":
            page = Frame(_PAGE.format(code=options["code"]).encode())
            return Reply(options["code"], (("content-type", "text/html; charset=utf-8"), STAND_IN), (page,))
        case "empty_body":
            return replace(vendor.null_stream(request) if request.stream else json_reply(200, None), frames=())
        case "null_object" if request.stream:
            return vendor.null_stream(request)
        case "null_object":
            return json_reply(200, {})
        case "huge":
            text = "This-is-the-Understudy-sandbox-" + "x" * int(options["megabytes"] * 1_000_000)
            return _sound(vendor, request, lambda: text)
        case "cut_character":
            return _sound(vendor, request, lambda: take() or ACCENTED)
        case "stream_error":
            return _stream_error(vendor, request, fault, take)
        case "slow_first_token" | "heartbeats" if request.stream:
            return _with_heartbeats(vendor, request, fault, take)
        case "malformed_json":
            return _malformed(_sound(vendor, request, take), options["after"])
        case "wrong_content_type":
            sound = _sound(vendor, request, take)
            others = [pair for pair in sound.headers if pair[0] != "content-type"]
            return replace(sound, headers=(("content-type", options["content_type"]), *others))
        case _:
            return _sound(vendor, request, take)


def split_after(reply: Reply, after: int) -> tuple[list[Frame], list[Frame]]:
    """Split a body after k content deltas; a body without deltas is split in the middle."""
    if after == 0:
        return [], list(reply.frames)
    deltas = [place for place, frame in enumerate(reply.frames) if frame.delta]
    if not deltas:
        body = reply.body
        return [Frame(body[: len(body) // 2])], [Frame(body[len(body) // 2 :])]
    place = deltas[min(after, len(deltas)) - 1] + 1
    return list(reply.frames[:place]), list(reply.frames[place:])


def _sound(vendor: Vendor, request: RecordedRequest, take: TakeReply) -> Reply:
    return vendor.reply_without_model(request) or vendor.reply(request, take())


def _status(vendor: Vendor, request: RecordedRequest, options: Mapping[str, Any]) -> Reply:
    body, headers = options["body"], tuple((options["headers"] or {}).items())
    if body is None:
        reply = vendor.failure(request, "status", options)
    elif isinstance(body, str):
        reply = text_reply(options["code"], body)
    else:
        reply = json_reply(options["code"], body)
    if options["code"] in (204, 304):  # these have no body by definition
        reply = replace(reply, frames=())
    given = {name.lower() for name, _ in headers}
    return replace(reply, headers=(*(pair for pair in reply.headers if pair[0] not in given), *headers))


def _stream_error(vendor: Vendor, request: RecordedRequest, fault: Fault, take: TakeReply) -> Reply:
    kind, after = fault.options["kind"], fault.options["after"]
    if not request.stream:
        return vendor.error_body(request, kind)
    sound = _sound(vendor, request, take)
    before, _ = split_after(sound, after)
    return replace(sound, frames=(*before, vendor.error_frame(request, kind, len(before))))


def _with_heartbeats(vendor: Vendor, request: RecordedRequest, fault: Fault, take: TakeReply) -> Reply:
    """Put the vendor's heartbeats before the first delta: as many as fit into the wait; or nothing but them."""
    sound, every, seconds = _sound(vendor, request, take), fault.options["every"], fault.options["seconds"]
    if not sound.streamed:
        return sound
    place = next((place for place, frame in enumerate(sound.frames) if frame.delta), None)
    if fault.name == "heartbeats":
        place = 1 if place is None else place
        sound = replace(sound, frames=sound.frames[:place])
    if place is None:
        return sound
    return vendor.with_heartbeats(request, sound, place, max(math.ceil(seconds / every) - 1, 0))


def _malformed(reply: Reply, after: int) -> Reply:
    """Break the plain body, or the first delta after k of a stream, leaving the lines around it whole."""
    deltas = [place for place, frame in enumerate(reply.frames) if frame.delta]
    if not deltas:
        body = reply.body.rstrip()
        return replace(reply, frames=(Frame(body[: len(body) // 2]),))
    place = deltas[min(after, len(deltas) - 1)]
    whole = reply.frames[place].data
    end = whole[len(whole.rstrip(b"\r\n")) :]
    broken = Frame(whole[: len(whole) * 2 // 3].rstrip() + end, delta=True)
    return replace(reply, frames=(*reply.frames[:place], broken, *reply.frames[place + 1 :]))
