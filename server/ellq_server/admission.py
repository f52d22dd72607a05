"""Who may come in: calls by count, weights by declared bytes, both before the body is read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ellq_server.refusals import Busy, Draining

RETRY_AFTER_SECONDS = 1.0


class Admission:
    """Counts calls and bytes in flight. Lives as long as the server; safe from any thread."""

    def __init__(self, *, concurrent_calls: int, memory_bytes: int) -> None:
        """Open with both limits; memory is reserved, never allocated here."""
        self._lock = threading.Lock()
        self._most_calls = concurrent_calls
        self._most_bytes = memory_bytes
        self._draining = False
        self.calls = 0
        self.reserved_bytes = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Hold one place. Errors: Busy when all are taken, Draining after `close`."""
        with self._lock:
            if self._draining:
                raise Draining(
                    "this replica is shutting down; another one will answer", retry_after_seconds=RETRY_AFTER_SECONDS
                )
            if self.calls >= self._most_calls:
                message = f"{self.calls} calls are running, which is the limit of this replica"
                raise Busy(message, retry_after_seconds=RETRY_AFTER_SECONDS)
            self.calls += 1
        try:
            yield
        finally:
            with self._lock:
                self.calls -= 1

    @contextmanager
    def memory(self, needed_bytes: int) -> Iterator[None]:
        """Hold memory for one call's weights. Errors: Busy when it is not free now.

        What can never fit must be refused before (limits.py): a lone call is always let in.
        """
        with self._lock:
            if self.reserved_bytes and self.reserved_bytes + needed_bytes > self._most_bytes:
                free = max(self._most_bytes - self.reserved_bytes, 0)
                message = f"the call needs {needed_bytes} bytes of memory, {free} of {self._most_bytes} are free"
                raise Busy(message, retry_after_seconds=RETRY_AFTER_SECONDS)
            self.reserved_bytes += needed_bytes
        try:
            yield
        finally:
            with self._lock:
                self.reserved_bytes -= needed_bytes

    def close(self) -> None:
        """Let nobody in any more; calls inside go on."""
        self._draining = True
