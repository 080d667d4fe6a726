"""The sandbox's own endpoints on every vendor's port, for another process: they are not counted as requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy_sandbox import faults
from understudy_sandbox.exchange import RecordedRequest, Reply, json_reply
from understudy_sandbox.schedule import Schedule
from understudy_sandbox.vendors import Vendor

PREFIX = "/_sandbox"
#: Headers and query fields whose values never leave the process.
_KEYS = ("authorization", "x-api-key", "x-goog-api-key", "key", "cookie", "proxy-authorization")


def answer(schedule: Schedule, vendor: Vendor, request: RecordedRequest) -> Reply:
    """Answer one control request; a request that makes no sense gets status 400 and says why."""
    sent = request.json if isinstance(request.json, Mapping) else {}
    try:
        match request.method, request.path.removeprefix(PREFIX):
            case "GET", "/requests":
                return json_reply(200, {"requests": [_shown(one) for one in schedule.requests]})
            case "GET", "" | "/":
                return json_reply(200, _status(schedule, vendor))
            case "POST", "/next":
                schedule.add([_fault(sent)] * _times(sent))
            case "POST", "/always":
                schedule.stand(_standing(_fault(sent)))
            case "POST", "/reply":
                schedule.script_replies([_reply(sent)])
            case "POST", "/heal":
                schedule.heal()
            case "POST", "/reset":
                schedule.reset()
            case method, path:
                raise ValueError(
                    f"there is no {method} {PREFIX}{path}; expected GET /requests or POST /next, /always, /reply, "
                    f"/heal, /reset below {PREFIX}"
                )
    except ValueError as error:
        return json_reply(400, {"error": {"type": "sandbox_error", "message": str(error)}})
    return json_reply(200, _status(schedule, vendor))


def read_json(body: bytes) -> Any:
    """The body as JSON, None when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _status(schedule: Schedule, vendor: Vendor) -> dict[str, Any]:
    counts = {"requests": len(schedule.requests), "connections": schedule.connections}
    return {"sandbox": True, "provider": vendor.NAME, **counts, "faults": list(faults.ALL)}


def _fault(sent: Mapping[str, Any]) -> faults.Fault:
    text = sent.get("fault")
    if not isinstance(text, str):
        raise ValueError(f'expected a body like {{"fault": "rate_limited retry_after=30"}}; found fault={text!r}')
    return faults.parse(text)


def _times(sent: Mapping[str, Any]) -> int:
    times = sent.get("times", 1)
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise ValueError(f"times must be a whole number, at least 1; found {times!r}")
    return times


def _standing(fault: faults.Fault) -> faults.Fault:
    if fault.name == "refuse" and fault.options["seconds"] is None:
        raise ValueError("refuse closes this port for control too; give it an end, as in 'refuse seconds=5'")
    return fault


def _reply(sent: Mapping[str, Any]) -> str | Mapping[str, Any]:
    reply = sent.get("reply")
    if not isinstance(reply, str | Mapping):
        raise ValueError(f'expected a body like {{"reply": "a text"}} or a whole JSON reply; found reply={reply!r}')
    return reply


def _shown(request: RecordedRequest) -> dict[str, Any]:
    return {
        "number": request.number,
        "method": request.method,
        "path": request.path,
        "query": _without_keys(request.query),
        "headers": _without_keys(request.headers),
        "json": request.json,
        "stream": request.stream,
        "at": request.at,
        "fault": request.fault,
    }


def _without_keys(pairs: Mapping[str, str]) -> dict[str, str]:
    return {name: "[hidden]" if name.lower() in _KEYS else value for name, value in pairs.items()}
