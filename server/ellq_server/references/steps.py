"""Steps that wait for a disk, in threads of their own."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")


def heard(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended, or asyncio prints the error of one that nobody waits for any more, secrets and all."""
    if not task.cancelled():
        task.exception()


class Steps:
    """Runs steps, and knows which still run: one that nobody waits for any more cannot be stopped.

    A file must not be closed under it. The number of the file would go to the next one that is opened.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, step: Callable[..., Value], *arguments: Any) -> Value:
        """Return what the step returns. Errors: its own."""
        task = asyncio.create_task(asyncio.to_thread(step, *arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(heard)
        return await asyncio.shield(task)

    async def settle(self) -> None:
        """Wait until no step runs."""
        await asyncio.gather(*self._running, return_exceptions=True)
