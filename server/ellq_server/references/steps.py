"""Steps that wait for a disk, in threads of their own."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from ellq_server.logs import log

Value = TypeVar("Value")

_ENDINGS: set[asyncio.Task[None]] = set()
"""Last steps behind others that hang; a task that nobody holds may be collected."""


def heard(task: asyncio.Task[Any]) -> None:
    """Take note of how a task ended, or asyncio prints the error of one that nobody waits for any more, secrets and all."""
    if not task.cancelled():
        task.exception()


class Steps:
    """Runs steps, and knows which still run: one that nobody waits for any more cannot be stopped.

    A file must not be closed under it. The number of the file would go to the next one that is opened.
    """

    def __init__(self, *, seconds: float) -> None:
        """Take how long a step may take."""
        self._seconds = seconds
        self._hangs = False
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, step: Callable[..., Value], *arguments: Any) -> Value:
        """Return what the step returns. Errors: its own; TimeoutError, and then it may still run."""
        task = asyncio.create_task(asyncio.to_thread(step, *arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(heard)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(task)
        except TimeoutError:
            self._hangs = True
            raise

    async def end(self, last: Callable[[], None]) -> None:
        """Run a last step once no other runs. Steps that hang are not waited for: it comes whenever they are over."""
        ending = asyncio.create_task(self._end(last))
        _ENDINGS.add(ending)
        ending.add_done_callback(_ENDINGS.discard)
        ending.add_done_callback(heard)
        if not self._hangs:
            await asyncio.wait([ending], timeout=self._seconds)

    async def _end(self, last: Callable[[], None]) -> None:
        await asyncio.gather(*self._running, return_exceptions=True)
        try:
            await asyncio.to_thread(last)
        except OSError as error:  # how the call ended is told already
            log.warning("store failed", doing="let go of it", kind=type(error).__name__, error=error.strerror)
