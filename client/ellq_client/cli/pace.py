"""How fast a run goes, and so how long the rest of it takes."""

from collections.abc import Callable
from time import monotonic

_MEMORY = 0.1
"""Share of the work after which what was seen counts half."""


class Pace:
    """Seconds a byte, smoothed over bytes: what is long done counts little, what was done before this run nothing.

    The clock starts with the first report, not with the call: connecting, compiling kernels and reading what an earlier run
    finished come once, and say nothing of the weights that remain.
    """

    def __init__(self, total_bytes: int, *, done_bytes: int, clock: Callable[[], float] = monotonic) -> None:
        self._total_bytes = total_bytes
        self._done_bytes = done_bytes
        self._clock = clock
        self._half_bytes = max(_MEMORY * (total_bytes - done_bytes), 1.0)
        self._last_seconds: float | None = None
        self._bytes = self._seconds = 0.0

    def remaining_seconds(self, done_bytes: int) -> float | None:
        """Take in that so much is done, earlier runs included, and return what the rest takes.

        None: nothing tells yet, or the total is not known, which is 0 then.
        """
        now, step = self._clock(), done_bytes - self._done_bytes
        if self._last_seconds is not None:
            fading = 0.5 ** (step / self._half_bytes)
            self._bytes = self._bytes * fading + step
            self._seconds = self._seconds * fading + now - self._last_seconds
        self._last_seconds, self._done_bytes = now, done_bytes
        if not self._bytes or done_bytes > self._total_bytes:
            return None
        return self._seconds / self._bytes * (self._total_bytes - done_bytes)
