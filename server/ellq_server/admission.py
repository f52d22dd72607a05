"""Who may come in: calls by count, weights by declared bytes, both before the body is read."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from ellq_server.refusals import Busy, Draining, TooLarge

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
    def call(self) -> Iterator["Place"]:
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
            yield Place(self)
        finally:
            with self._lock:
                self.calls -= 1

    @contextmanager
    def memory(self, needed_bytes: int, place: "Place") -> Iterator[None]:
        """Hold memory for one call's weights, in its place. Errors: Busy when it is not free now; TooLarge (PAYLOAD_TOO_LARGE).

        What can never fit must be refused for good, by limits.py before or here where it is too much only beside what the
        call itself holds: it would be told to come back for ever. The first that a lone call asks for is always let in.
        """
        with self._lock:
            if place.held_bytes and place.held_bytes + needed_bytes > self._most_bytes:
                beside = f"the call needs {needed_bytes} bytes of memory beside the {place.held_bytes} that it holds"
                message = f"{beside}; this server has {self._most_bytes}"
                raise TooLarge(message, reason="PAYLOAD_TOO_LARGE", field="data")
            if self.reserved_bytes and self.reserved_bytes + needed_bytes > self._most_bytes:
                free = max(self._most_bytes - self.reserved_bytes, 0)
                message = f"the call needs {needed_bytes} bytes of memory, {free} of {self._most_bytes} are free"
                raise Busy(message, retry_after_seconds=RETRY_AFTER_SECONDS)
            self.reserved_bytes += needed_bytes
            place.held_bytes += needed_bytes
        try:
            yield
        finally:
            with self._lock:
                self.reserved_bytes -= needed_bytes
                place.held_bytes -= needed_bytes

    def close(self) -> None:
        """Let nobody in any more; calls inside go on."""
        self._draining = True


class Place:
    """One call's place, and the memory that it holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.held_bytes = 0

    def memory(self, needed_bytes: int) -> AbstractContextManager[None]:
        """Hold more memory for this call. Errors: those of Admission.memory."""
        return self._admission.memory(needed_bytes, self)
