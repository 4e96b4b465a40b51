"""A real HTTP server on this machine that speaks the chat-completions protocol, well or badly, as a test tells it."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Call:
    """One request as the server got it."""

    body: dict
    headers: dict[str, str]
    attempt: int
    """How often this very conversation was asked before, plus 1."""
    time: float

    @property
    def question(self):
        """The last problem and solution that were asked about, be it in a repair or not."""
        return next(
            m["content"] for m in reversed(self.body["messages"]) if m["content"].startswith("Problem:\n")
        ).removeprefix("Problem:\n")

    @property
    def problem(self):
        return self.question.partition("\n\nSolution:\n")[0]

    @property
    def solution(self):
        return self.question.partition("\n\nSolution:\n")[2]

    @property
    def is_repair(self):
        return not self.body["messages"][-1]["content"].startswith("Problem:\n")


@dataclass
class Reply:
    """What the server sends. ``raw`` replaces the whole body, ``text`` is the model's answer."""

    text: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    delay: float = 0.0
    finish_reason: str = "stop"
    refusal: str | None = None
    usage: tuple[int, int] | None = (100, 50)
    end: str = "whole"
    """whole; half: the connection closes in the middle of the body; reset: without a word; hang; trickle."""


def steps_of(solution):
    """A good rewrite of any solution."""
    return f"1. **State the facts** The solution reads as follows.\n\n2. **State the result** {solution}"


def good(call):
    return Reply(steps_of(call.solution))


def error(status, message, code=None, **headers):
    body = {"error": {"message": message, "type": "x", "code": code}}
    return Reply(status=status, raw=json.dumps(body).encode(), headers=headers)


class LLMServer:
    """Answers each call with ``script(call)``; a context manager."""

    def __init__(self, script=good):
        self.script = script
        self.calls: list[Call] = []
        self.most_at_once = 0
        self._at_once = 0
        self._seen = Counter()
        self._lock = threading.Lock()
        self._released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                server._answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    def problems(self):
        return [call.problem for call in self.calls]

    def _answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            conversation = json.dumps(body["messages"])
            self._seen[conversation] += 1
            call = Call(
                body,
                {name.lower(): value for name, value in handler.headers.items()},
                self._seen[conversation],
                time.monotonic(),
            )
            self.calls.append(call)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if handler.path != "/v1/chat/completions":
                reply = error(404, f"no such path: {handler.path}")
            else:
                reply = self.script(call)
            self._released.wait(reply.delay)
        finally:
            with self._lock:
                self._at_once -= 1
        self._send(handler, reply)

    def _send(self, handler, reply):
        if reply.end == "hang":
            self._released.wait(30)
        if reply.end in ("reset", "hang"):
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()
            return
        content = reply.raw if reply.raw is not None else json.dumps(completion(reply)).encode()
        try:
            handler.send_response(reply.status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(content)))
            for name, value in reply.headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            if reply.end == "half":
                handler.wfile.write(content[: len(content) // 2])
                handler.close_connection = True
            elif reply.end == "trickle":
                for byte in content:
                    handler.wfile.write(bytes([byte]))
                    self._released.wait(0.05)
            else:
                handler.wfile.write(content)
        except OSError:
            handler.close_connection = True


def completion(reply):
    value = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": reply.finish_reason,
                "message": {"role": "assistant", "content": reply.text, "refusal": reply.refusal},
            }
        ],
    }
    if reply.usage:
        prompt, answer = reply.usage
        value["usage"] = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return value


def write_rows(path, numbers):
    """Rows whose solutions are one sentence each, so that they do not fall into steps."""
    rows = [
        {"id": f"r{n}", "problem": f"p{n}", "solution": f"Twice {n} is what we look for, so \\boxed{{{2 * n}}}"}
        for n in numbers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def ids(output):
    return [row["id"] for row in read_lines(output)]
