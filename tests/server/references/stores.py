"""A store that misbehaves on purpose: what moto, and every honest store, never does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Request(BaseHTTPRequestHandler):
    """One request to such a store."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", **headers: object) -> None:
        """Send an answer; a header given here wins."""
        self.send_response(status)
        for name, value in ({"content_length": len(body)} | headers).items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @property
    def range(self) -> tuple[int, int]:
        """First byte asked for, and the one behind the last."""
        first, last = self.headers["range"].removeprefix("bytes=").split("-")
        return int(first), int(last) + 1

    def serve_range(self, content: bytes, **headers: object) -> None:
        """Answer as an honest store does."""
        begin, end = self.range
        told = {"etag": '"one"', "content_range": f"bytes {begin}-{min(end, len(content)) - 1}/{len(content)}"}
        self.answer(206, content[begin:end], last_modified="Mon, 23 Nov 2026 00:00:00 GMT", **(told | headers))

    def serve_head(self, content: bytes, **headers: object) -> None:
        """Answer as an honest store does."""
        told = {"content_length": len(content), "etag": '"one"', "last_modified": "Mon, 23 Nov 2026 00:00:00 GMT"}
        self.answer(200, **(told | headers))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def http_server(behaviour: Callable[[Request], None], host: str = "127.0.0.1") -> Iterator[str]:
    """Serve with this behaviour, and give the address."""

    class Handler(Request):
        def handle_any(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                behaviour(self)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
