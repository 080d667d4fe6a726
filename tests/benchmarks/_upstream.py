"""The vendors' side of the benchmarks: a server with canned replies, in a process of its own.

What it costs to answer is therefore in nobody's CPU time, and it keeps connections open for everybody. Below /refuses
Gemini's daily quota is used up; any other path is healthy. The replies have the
shape and the headers of the vendors' own; a stream of Claude's has CHUNKS pieces of text and comes at once.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

CHUNKS = 1000
TEXT = "The sky is blue because air scatters short waves of light more than long ones. " * 4
CLAUDE = "claude-sonnet-5-5"
GEMINI = "gemini-3.8-flash"

_HEADERS_CLAUDE = """\
Cache-Control: no-cache
anthropic-ratelimit-input-tokens-limit: 10000000
anthropic-ratelimit-input-tokens-remaining: 10000000
anthropic-ratelimit-input-tokens-reset: 2026-08-19T14:34:11Z
anthropic-ratelimit-output-tokens-limit: 2000000
anthropic-ratelimit-output-tokens-remaining: 2000000
anthropic-ratelimit-output-tokens-reset: 2026-08-19T14:34:11Z
anthropic-ratelimit-requests-limit: 10000
anthropic-ratelimit-requests-remaining: 9999
anthropic-ratelimit-requests-reset: 2026-08-19T14:34:11Z
request-id: req_011CeCGmCzjcUtmtEmMdEiM2
strict-transport-security: max-age=31536000; includeSubDomains; preload
Server: cloudflare
Vary: Accept-Encoding
cf-cache-status: DYNAMIC
X-Robots-Tag: none"""
_HEADERS_GEMINI = """\
Vary: Origin
Vary: X-Origin
Vary: Referer
Server: scaffolding on HTTPServer2
X-XSS-Protection: 0
X-Frame-Options: SAMEORIGIN
X-Content-Type-Options: nosniff
Server-Timing: gfet4t7; dur=619"""

_USAGE = {
    "input_tokens": 15,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 80,
    "service_tier": "standard",
}
_MESSAGE = {
    "model": CLAUDE,
    "id": "msg_011CeCGmCzjcUtmtEmMdEiM2",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": _USAGE,
}
_CANDIDATES = {
    "candidates": [
        {"content": {"parts": [{"text": TEXT}], "role": "model"}, "finishReason": "STOP", "index": 0},
    ],
    "usageMetadata": {
        "promptTokenCount": 10,
        "candidatesTokenCount": 80,
        "totalTokenCount": 90,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
    },
    "modelVersion": GEMINI,
    "responseId": "Cr-FaqLbNpfYkdUP-bmpoAw",
}
_COMPLETION = {
    "id": "chatcmpl-DdLkSiZDsS0RcBvDbTtD5bV5Lx9Cq",
    "object": "chat.completion",
    "created": 1787150000,
    "model": "gpt-4.1",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": TEXT, "refusal": None}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 15, "completion_tokens": 80, "total_tokens": 95},
}
_COHERE = {
    "id": "4cc4b1d2-8c3a-4a35-a4c1-7a4a5d0d2f60",
    "message": {"role": "assistant", "content": [{"type": "text", "text": TEXT}]},
    "finish_reason": "COMPLETE",
    "usage": {
        "billed_units": {"input_tokens": 15, "output_tokens": 80},
        "tokens": {"input_tokens": 80, "output_tokens": 82},
    },
}
_OLLAMA = {
    "model": "gemma4",
    "created_at": "2026-08-19T14:34:11.123456Z",
    "message": {"role": "assistant", "content": TEXT},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 15,
    "eval_count": 80,
}
_QUOTA = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                    {
                        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                        "quotaDimensions": {"location": "global", "model": GEMINI},
                        "quotaValue": "20",
                    }
                ],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"},
        ],
    }
}


@contextmanager
def upstream() -> Iterator[str]:
    """Run the server for as long as the block lasts; gives its URL."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError("expected the upstream to say its port, found that it had ended")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()  # it ends with its input


def _events() -> Iterator[str]:
    """Return the events of a stream of Claude's."""
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    texts = [{"type": "text_delta", "text": f"word {number} "} for number in range(CHUNKS)]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**_MESSAGE, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": text} for text in texts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3 * CHUNKS}},
        {"type": "message_stop"},
    ]
    return (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def _reply(status: str, headers: str, kind: str, *pieces: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Transfer-Encoding: chunked", *headers.splitlines()]
    chunks = [f"{len(piece.encode()):x}\r\n{piece}\r\n" for piece in (*pieces, "")]
    return ("\r\n".join(lines) + "\r\n\r\n" + "".join(chunks)).encode()


class _Connection(asyncio.Protocol):
    message = _reply("200 OK", _HEADERS_CLAUDE, "application/json", json.dumps(_MESSAGE))
    stream = _reply("200 OK", _HEADERS_CLAUDE, "text/event-stream; charset=utf-8", *_events())
    candidates = _reply("200 OK", _HEADERS_GEMINI, "application/json; charset=UTF-8", json.dumps(_CANDIDATES))
    others: ClassVar = {  # by the end of the path
        b"/chat/completions": _reply("200 OK", "", "application/json", json.dumps(_COMPLETION)),
        b"/v2/chat": _reply("200 OK", "", "application/json", json.dumps(_COHERE)),
        b"/api/chat": _reply("200 OK", "", "application/json; charset=utf-8", json.dumps(_OLLAMA)),
    }
    refusal = _reply("429 Too Many Requests", _HEADERS_GEMINI, "application/json; charset=UTF-8", json.dumps(_QUOTA))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), b"0")
        if not blank or len(body) < int(length):
            return
        self.received = b""
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/refuses"):
            reply = self.refusal
        elif b"/v1/messages" not in path:
            reply = next((reply for end, reply in self.others.items() if path.endswith(end)), self.candidates)
        else:
            reply = self.stream if json.loads(body).get("stream") else self.message
        self.transport.write(reply)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # the benchmark says it
        asyncio.run(_serve())
