"""Where the time of a call goes, stage by stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class Stopwatch:
    """Times the stages of one call: `with stopwatch("measure"): ...`."""

    def __init__(self, observe: Callable[[str, float], None]) -> None:
        """Report every stage to `observe` as (stage, seconds)."""
        self._observe = observe
        self._started = time.perf_counter()
        self._adding = Lock()
        self.compute_seconds = 0.0

    @property
    def total_seconds(self) -> float:
        """Seconds since the call began."""
        return time.perf_counter() - self._started

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            with self._adding:
                self.compute_seconds += seconds
            self._observe(stage, seconds)
