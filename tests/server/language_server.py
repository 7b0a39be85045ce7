"""A server that speaks OpenAI's chat protocol, well or badly, as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class LanguageServer:
    """What it answers, and what it was asked."""

    url: str = ""
    answer: str = "a red cat runs"
    status: int = 200
    finish: str = "stop"
    body: bytes | None = None
    """Sent in the place of a completion."""
    delay: float = 0.0
    """Seconds before it answers."""
    drip: float = 0.0
    """Seconds between two bytes of the answer."""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[dict] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def completion(self) -> bytes:
        message = {"role": "assistant", "content": self.answer}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


@contextmanager
def running():
    """Serve on a free port of this machine for the length of the block."""
    server = LanguageServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.paths.append(self.path)
            server.keys.append(self.headers.get("authorization"))
            server.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            time.sleep(server.delay)
            body = server.completion() if server.body is None else server.body
            try:
                self.send_response(server.status)
                self.send_header("content-length", str(len(body)))
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in (
                    [body] if not server.drip else [body[i : i + 1] for i in range(len(body))]
                ):
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(server.drip)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client had enough

        def log_message(self, *_):
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server.url = f"http://127.0.0.1:{listener.server_port}/v1"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.socket.close()
