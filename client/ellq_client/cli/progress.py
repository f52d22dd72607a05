"""How far a run has come, on standard error: a bar on a terminal, now and then a line elsewhere."""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import Protocol

from ellq_client.checkpoint import stored_bytes
from ellq_client.cli.wording import harmless, shortened
from ellq_client.values import TensorReport

_LINES = 10
_WORTH_LINES_BYTES = 10_000_000
_PATIENCE_SECONDS = 1.5
_NAME_WIDTH = 20


class _Display(Protocol):
    def __call__(self, done_bytes: int, tensor: str) -> None: ...


@dataclass(frozen=True)
class Work:
    """What a run has to do."""

    name: str
    total_bytes: int
    done_bytes: int = 0
    """Of these, what an earlier run did."""


def work_on(path: Path, output: Path | None = None) -> Work:
    """Return the work on a file or a folder. Errors: SourceError, OutputError for a folder; the run itself refuses files."""
    if not path.is_dir():
        return Work(path.name, path.stat().st_size if path.is_file() else 0)
    from ellq_client.folders.folder import open_folder
    from ellq_client.folders.workplace import read_journal

    folder = open_folder(path)
    sizes = {shard.name: shard.payload_bytes for shard in folder.shards}
    finished = () if output is None else {name for part in read_journal(output) for name in part.shards}
    return Work(folder.name, folder.payload_bytes, sum(sizes.get(name, 0) for name in finished))


def follow(run: Iterable[TensorReport], work: Work, *, embedded: bool, quiet: bool) -> None:
    """Take every report of a run and show how much of the work they cover."""
    waiting = Timer(_PATIENCE_SECONDS, _ask_for_patience)
    waiting.daemon = True
    if embedded and not quiet:
        waiting.start()
    try:
        with _display(work, quiet=quiet) as show:
            done_bytes = work.done_bytes
            for report in run:
                waiting.cancel()
                done_bytes += stored_bytes(report.dtype, report.shape)
                show(done_bytes, harmless(report.name))
    finally:
        waiting.cancel()


def _ask_for_patience() -> None:
    told = "the service in this process is at work; its first start on a machine compiles the kernels, about half a minute"
    print(f"ellq: {told}", file=sys.stderr, flush=True)


def _display(work: Work, *, quiet: bool) -> AbstractContextManager[_Display]:
    terminal = sys.stderr.isatty()
    if quiet or (not terminal and work.total_bytes < _WORTH_LINES_BYTES):
        return nullcontext(lambda done_bytes, tensor: None)
    return _bar(work) if terminal else nullcontext(_lines(work))


@contextmanager
def _bar(work: Work) -> Generator[_Display]:
    """Show one line that fits 80 columns: two names of 20, a bar of 16, sizes and time.

    The time that remains is reckoned from what this run has done in the last half minute, not from what was done before it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    names = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[tensor]}", markup=False)
    columns = (names[0], BarColumn(bar_width=10), DownloadColumn(), TimeRemainingColumn(compact=True), names[1])
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        name = shortened(harmless(work.name), _NAME_WIDTH)
        task = progress.add_task(name, total=work.total_bytes, completed=work.done_bytes, tensor="")
        yield lambda done_bytes, tensor: progress.update(task, completed=done_bytes, tensor=shortened(tensor, _NAME_WIDTH))


def _lines(work: Work, clock: Callable[[], float] = monotonic) -> _Display:
    told, began = _LINES * work.done_bytes // max(work.total_bytes, 1), clock()
    if work.done_bytes:
        print(f"ellq: {harmless(work.name)}: {work.done_bytes / 1e6:.1f} MB were done before", file=sys.stderr)

    def show(done_bytes: int, tensor: str) -> None:
        nonlocal told
        share = _LINES * done_bytes // max(work.total_bytes, 1)
        if share > told:
            told = share
            seconds = (clock() - began) * (work.total_bytes - done_bytes) / max(done_bytes - work.done_bytes, 1)
            sizes = f"{done_bytes / 1e6:.1f} of {work.total_bytes / 1e6:.1f} MB"
            print(f"ellq: {harmless(work.name)}: {sizes}, about {_duration(seconds)} left, at {tensor}", file=sys.stderr)

    return show


def _duration(seconds: float) -> str:
    """Return a time in the unit that fits it, no finer than an estimate is."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{ceil(seconds)} s"
