"""Threads that share out blocks of work. Kernels hold no GIL, so plain Python threads do."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

BLOCK_WEIGHTS = 1 << 17
"""Least weights worth handing to another thread: tens of microseconds of work."""

BLOCKS_A_THREAD = 4
"""More blocks than threads, so that a thread that is held up does not hold up all."""


class Threads:
    """A pool that several callers use at once; blocks of one call never wait for blocks of another to be handed out."""

    def __init__(self, count: int | None) -> None:
        self.count = count or usable_cores()
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="ellq-kernels") if self.count > 1 else None

    def ranges(self, items: int, *, weights_each: int) -> list[tuple[int, int]]:
        """Return consecutive ranges that cover [0, items), each worth a thread's while."""
        least = -(-BLOCK_WEIGHTS // weights_each)
        length = max(least, -(-items // (self.count * BLOCKS_A_THREAD)))
        return [(first, min(first + length, items)) for first in range(0, items, length)]

    def run(self, task: Callable[..., Result], calls: Sequence[tuple[int, ...]]) -> list[Result]:
        """Return task(*call) for all calls, in order."""
        if self._pool is None or len(calls) == 1:
            return [task(*call) for call in calls]
        return list(self._pool.map(lambda call: task(*call), calls))

    def over(self, items: int, *, weights_each: int, task: Callable[[int, int], Result]) -> list[Result]:
        """Return task(first, last) for consecutive ranges that cover [0, items), in order."""
        return self.run(task, self.ranges(items, weights_each=weights_each))


def usable_cores() -> int:
    """Return how many cores this process may use; where the system cannot tell, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
