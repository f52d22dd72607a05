"""Threads that share out blocks of work. Kernels hold no GIL, so plain Python threads do."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from typing import Any, TypeVar

Result = TypeVar("Result")

BLOCK_WEIGHTS = 1 << 18
"""Least weights worth handing to another thread: 50 to 250 microseconds of work. Waking one takes about 50."""

BLOCKS_A_THREAD = 4
"""More blocks than threads, so that a thread that is held up does not hold up all."""


class Threads:
    """A pool that several callers use at once; each computes too, and waits for nothing but blocks that are under way."""

    def __init__(self, count: int | None) -> None:
        self.count = count or usable_cores()
        self._pool = ThreadPoolExecutor(self.count - 1, thread_name_prefix="ellq-kernels") if self.count > 1 else None

    def ranges(self, items: int, *, weights_each: int) -> list[tuple[int, int]]:
        """Return consecutive ranges of about equal length that cover [0, items), each worth a thread's while."""
        blocks = max(min(items * weights_each // BLOCK_WEIGHTS, self.count * BLOCKS_A_THREAD), 1)
        length = -(-items // blocks)
        return [(first, min(first + length, items)) for first in range(0, items, length)]

    def run(self, task: Callable[..., Result], calls: Sequence[tuple[int, ...]]) -> list[Result]:
        """Return task(*call) for all calls, in order."""
        if self._pool is None or len(calls) == 1:
            return [task(*call) for call in calls]
        found: list[Any] = [None] * len(calls)
        places = count()  # next() is atomic
        held = [task]  # with its weights, until all is done: `draw` itself lives until the threads find time to let go of it

        def draw() -> None:
            while (place := next(places)) < len(calls):
                found[place] = held[0](*calls[place])

        helping = [self._pool.submit(draw) for _ in range(min(self.count, len(calls)) - 1)]
        try:
            draw()
        finally:  # of what went wrong, too, nobody hears before all threads have let go of the weights
            begun = [one for one in helping if not one.cancel()]  # what no thread has begun has nothing left to do
            wait(begun)
            held.clear()
        for one in begun:
            one.result()
        return found

    def over(self, items: int, *, weights_each: int, task: Callable[[int, int], Result]) -> list[Result]:
        """Return task(first, last) for consecutive ranges that cover [0, items), in order."""
        return self.run(task, self.ranges(items, weights_each=weights_each))


def usable_cores() -> int:
    """Return how many cores this process may use; where the system cannot tell, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
