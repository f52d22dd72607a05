"""Several runs at once, each in a thread, for the owner of them all to take their reports one by one."""

from collections import deque
from collections.abc import Iterator, Sequence
from threading import Condition, Thread
from typing import Protocol, Self

from ellq_client.errors import Cancelled
from ellq_client.values import TensorReport


class TeamRun(Protocol):
    """What a team needs of a run."""

    def __iter__(self) -> Iterator[TensorReport]:
        """Yield the reports."""
        ...

    def result(self) -> object:
        """Return the result."""
        ...

    def stop(self) -> None:
        """Cancel it, from any thread."""
        ...


class Team:
    """Runs that begin in their order, at most `width` at a time. Leaving it ends them all, and waits until they have ended.

    Reports wait for the owner, no more than `width` of them: who takes none holds all runs back, as with a single one.
    """

    def __init__(self, runs: Sequence[TeamRun], *, width: int) -> None:
        self._runs = runs
        self._width = width
        self._waiting = iter(range(len(runs)))
        self._reports: deque[TensorReport] = deque()
        self._results: dict[int, object] = {}
        self._failure: BaseException | None = None
        self._stopped = False
        self._changed = Condition()
        """Held for every look at what stands above."""
        self._threads = [Thread(target=self._work, daemon=True, name="ellq-stream") for _ in range(min(width, len(runs)))]
        self._working = len(self._threads)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Cancel all runs, and wait until they have ended; harmless when they have."""
        self.stop()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()

    def stop(self) -> None:
        """Cancel all runs, from any thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for run in self._runs:
            run.stop()

    def reports(self) -> Iterator[TensorReport]:
        """Yield reports until all runs are at their end. Errors: the first of any run; Cancelled when it was stopped."""
        while (report := self._next()) is not None:
            yield report
        if self._failure is not None:
            raise self._failure
        if self._stopped:
            raise Cancelled("the run was closed before its end")

    def results(self) -> tuple[object, ...]:
        """Return the results in the order of the runs, once all reports are taken."""
        return tuple(self._results[place] for place in range(len(self._runs)))

    def _next(self) -> TensorReport | None:
        with self._changed:
            self._changed.wait_for(lambda: self._reports or self._over())
            if not self._reports or self._failure is not None:
                return None
            self._changed.notify_all()
            return self._reports.popleft()

    def _over(self) -> bool:
        return self._stopped or self._failure is not None or self._working == 0

    def _work(self) -> None:
        """Take run after run to its end."""
        try:
            while (place := self._take()) is not None:
                for report in self._runs[place]:
                    self._tell(report)
                self._results[place] = self._runs[place].result()
        except BaseException as error:  # the owner raises it
            with self._changed:
                self._failure = self._failure or error
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _take(self) -> int | None:
        with self._changed:
            return None if self._stopped or self._failure is not None else next(self._waiting, None)

    def _tell(self, report: TensorReport) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._reports) < self._width)
            self._reports.append(report)
            self._changed.notify_all()
