"""When to try again. Every call is a pure function of its request, so all of it can be repeated."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random
from time import monotonic

from ellq_client.errors import Busy, DeadlineExceeded, RemoteError, Unavailable

RETRIED = (Busy, Unavailable)

_CLOCK_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often to try. Delays double from the first to the longest, each shortened by up to half at random."""

    timeout_seconds: float
    """For everything that one `analyze` or `compress` does, retries and waiting included."""
    max_attempts: int
    """Attempts of one call, the first included."""
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 30.0
    outlasts_busy: bool = False
    """Whether a busy server is tried until the time is over, and only an absent one max_attempts times."""
    clock: Callable[[], float] = field(default=monotonic, repr=False)
    jitter: Callable[[], float] = field(default=random, repr=False)

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        if not self.timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be above 0, got {self.timeout_seconds}")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, got {self.max_attempts}")

    def delay_seconds(self, attempt: int, *, asked: float | None) -> float:
        """Return how long to wait after a failed attempt (from 1); never less than the server asked for."""
        backoff = min(self.first_delay_seconds * 2 ** min(attempt - 1, 30), self.longest_delay_seconds)
        jitter = self.jitter()
        return asked * (1 + jitter / 4) if asked is not None else backoff * (1 - jitter / 2)


class Deadline:
    """A point in time after which nothing more is tried."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._end = patience.clock() + patience.timeout_seconds

    @property
    def over(self) -> bool:
        """Whether the time is over, by a clock that may differ a little from gRPC's."""
        return self._end - self._patience.clock() < _CLOCK_SECONDS

    def told(self) -> str:
        """Return what to say when the time is over."""
        return f"not done within {self._patience.timeout_seconds:g} seconds (timeout_seconds)"

    def remaining_seconds(self) -> float:
        """Return the time left. Errors: DeadlineExceeded when there is none."""
        remaining = self._end - self._patience.clock()
        if remaining <= 0:
            raise DeadlineExceeded(self.told())
        return remaining

    def counts(self, refusal: RemoteError) -> bool:
        """Return whether an attempt that ended like this is one of those that are limited."""
        return not (self._patience.outlasts_busy and isinstance(refusal, Busy))

    def delay_after(self, refusal: RemoteError, *, attempt: int) -> float:
        """Return how long to wait before the next attempt; raise the refusal when there is none or it would come too late."""
        if attempt >= self._patience.max_attempts and self.counts(refusal):
            raise refusal
        delay = self._patience.delay_seconds(attempt, asked=refusal.retry_after_seconds)
        if delay >= self.remaining_seconds():
            refusal.add_note(f"not tried again: {delay:.1f} seconds to wait, and the deadline comes first")
            raise refusal
        return delay
