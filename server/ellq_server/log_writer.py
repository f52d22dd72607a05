"""Lines for standard error, written by a thread of its own: whoever logs never waits for whoever reads."""

import logging
import os
import select
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic

MOST_EVENTS = 4096
"""Events that may wait to be written; what comes beyond is dropped and counted."""

LAST_SECONDS = 5.0
"""How long the end of the process waits at most for whoever reads to take what is left."""

IDLE_SECONDS = 1.0
"""How long it waits when not one more event is taken meanwhile."""


class LogWriter(logging.Handler):
    """Takes events from any thread, the event loop's above all.

    A full pipe blocks its writer. Were that the event loop, a collector of logs that hangs would stop the service, its health
    checks and its drain.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to this open file. Not through sys.stderr: blocked in there, the thread would hold its lock until the exit."""
        super().__init__()
        self.dropped = 0
        """Events that were not written, because too many waited or nobody can read them any more."""
        self.written = 0
        """Events that were taken: how close() sees that somebody still reads."""
        self._counting = Lock()
        self._descriptor = descriptor
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all, name="ellq-logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format the event here, where its context is, and leave it for the thread."""
        if self._lines.qsize() >= MOST_EVENTS:  # exact: logging lets one event in at a time
            self._drop()
            return
        try:
            self._lines.put(self._line(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, as long as somebody takes events in, for LAST_SECONDS at most."""
        self._lines.put(None)
        deadline, seen = monotonic() + LAST_SECONDS, -1
        while self._thread.is_alive() and seen < self.written and (left := deadline - monotonic()) > 0:
            seen = self.written
            self._thread.join(min(left, IDLE_SECONDS))
        super().close()

    def _write_all(self) -> None:
        told = 0
        while (line := self._lines.get()) is not None:
            try:
                if told < self.dropped:
                    told = self.dropped
                    _write(self._descriptor, self._line(_dropped(told)))
                _write(self._descriptor, line)
                self.written += 1
            except OSError:
                self._drop()

    def _drop(self) -> None:
        with self._counting:
            self.dropped += 1

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"


def dropped_events() -> int:
    """Return how many events this process has dropped."""
    return sum(handler.dropped for handler in logging.getLogger().handlers if isinstance(handler, LogWriter))


def _dropped(count: int) -> logging.LogRecord:
    told = {"name": "ellq", "levelno": logging.WARNING, "levelname": "WARNING", "msg": f"events dropped so far: {count}"}
    return logging.makeLogRecord(told)


def _write(descriptor: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # whoever shares the pipe may have made it so
            select.select([], [descriptor], [])
