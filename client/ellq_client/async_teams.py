"""Several runs at once for asyncio programs, each in a task, for their owner to take their reports one by one."""

import asyncio
from asyncio import FIRST_COMPLETED, Queue
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol, Self

from ellq_client.errors import Cancelled
from ellq_client.values import TensorReport


class TeamRun(Protocol):
    """What a team needs of a run."""

    def __aiter__(self) -> AsyncIterator[TensorReport]:
        """Yield the reports."""
        ...

    async def result(self) -> object:
        """Return the result."""
        ...

    async def close(self) -> None:
        """Cancel what is not finished; harmless when all is."""
        ...


class AsyncTeam:
    """Runs that begin in their order, at most `width` at a time. Leaving it ends them all, and waits until they have ended.

    Reports wait for the owner, no more than `width` of them, as in Team.
    """

    def __init__(self, runs: Sequence[TeamRun], *, width: int) -> None:
        self._runs = runs
        self._waiting = iter(range(len(runs)))
        self._reports: Queue[TensorReport] = Queue(maxsize=width)
        self._results: dict[int, object] = {}
        self._width = width
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        if not self._stopped:
            self._tasks = [asyncio.create_task(self._work()) for _ in range(min(self._width, len(self._runs)))]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        """Cancel all runs, and wait until each that had begun is closed; harmless when they are."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stop(self) -> None:
        """Cancel all runs. Once: another time would cut short how they end."""
        if not self._stopped:
            self._stopped = True
            for task in self._tasks:
                task.cancel()

    async def reports(self) -> AsyncGenerator[TensorReport]:
        """Yield reports until all runs are at their end. Errors: the first of any run; Cancelled when somebody ended them."""
        while (report := await self._next()) is not None:
            yield report
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
        if self._stopped:
            raise Cancelled("the run was closed before its end")

    async def _next(self) -> TensorReport | None:
        """Return the next report; None: there is none, or a run failed."""
        report = asyncio.ensure_future(self._reports.get())
        try:
            while not report.done() and not self._over():
                await asyncio.wait({report, *(task for task in self._tasks if not task.done())}, return_when=FIRST_COMPLETED)
            return report.result() if report.done() else None
        finally:
            report.cancel()

    def _over(self) -> bool:
        failed = any(task.done() and (task.cancelled() or task.exception()) for task in self._tasks)
        return self._stopped or failed or (self._reports.empty() and all(task.done() for task in self._tasks))

    def results(self) -> tuple[object, ...]:
        """Return the results in the order of the runs, once all reports are taken."""
        return tuple(self._results[place] for place in range(len(self._runs)))

    async def _work(self) -> None:
        """Take run after run to its end."""
        for place in self._waiting:
            run = self._runs[place]
            try:
                async for report in run:
                    await self._reports.put(report)
                self._results[place] = await run.result()
            finally:
                await run.close()  # also where it is this task that is cancelled, while the run waits to go on
