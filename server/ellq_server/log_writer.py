"""Lines for standard error, written by a thread of its own: whoever logs never waits for whoever reads."""

import logging
import os
import select
from contextlib import suppress
from queue import Full, Queue
from threading import Lock, Thread
from time import monotonic

MOST_EVENTS = 4096
"""Events that may wait to be written; what comes beyond is dropped and counted."""

LAST_SECONDS = 5.0
"""How long the end of the process waits for whoever reads to take what is left."""


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
        self._counting = Lock()
        self._descriptor = descriptor
        self._lines: Queue[bytes | None] = Queue(MOST_EVENTS)
        self._thread = Thread(target=self._write_all, name="ellq-logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format the event here, where its context is, and leave it for the thread."""
        try:
            self._lines.put_nowait(self._line(record))
        except Full:
            self._drop()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, as long as somebody reads it, for LAST_SECONDS at most."""
        deadline = monotonic() + LAST_SECONDS
        with suppress(Full):
            self._lines.put(None, timeout=LAST_SECONDS)
            self._thread.join(max(deadline - monotonic(), 0.0))
        super().close()

    def _write_all(self) -> None:
        told = 0
        while (line := self._lines.get()) is not None:
            try:
                if told < self.dropped:
                    told = self.dropped
                    _write(self._descriptor, self._line(_dropped(told)))
                _write(self._descriptor, line)
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
