"""How far a run has come, on standard error: a bar on a terminal, now and then a line elsewhere."""

import sys
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from ellq_client.checkpoint import stored_bytes
from ellq_client.values import TensorReport

_LINES = 10


class _Display(Protocol):
    def __call__(self, done_bytes: int, tensor: str) -> None: ...


def follow(run: Iterable[TensorReport], path: Path, *, quiet: bool) -> None:
    """Take every report of a run and show how much of the file they cover."""
    with _display(path, quiet=quiet) as show:
        done_bytes = 0
        for report in run:
            done_bytes += stored_bytes(report.dtype, report.shape)
            show(done_bytes, report.name)


def _display(path: Path, *, quiet: bool) -> AbstractContextManager[_Display]:
    if quiet:
        return nullcontext(lambda done_bytes, tensor: None)
    total_bytes = path.stat().st_size if path.is_file() else 0  # what is no file is refused by the run, with a better message
    return _bar(path.name, total_bytes) if sys.stderr.isatty() else nullcontext(_lines(path.name, total_bytes))


@contextmanager
def _bar(name: str, total_bytes: int) -> Generator[_Display]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    name_column, tensor_column = TextColumn("{task.description}"), TextColumn("{task.fields[tensor]}")
    columns = (name_column, BarColumn(), DownloadColumn(), TimeRemainingColumn(), tensor_column)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total_bytes, tensor="")
        yield lambda done_bytes, tensor: progress.update(task, completed=done_bytes, tensor=tensor)


def _lines(name: str, total_bytes: int) -> _Display:
    told = 0

    def show(done_bytes: int, tensor: str) -> None:
        nonlocal told
        share = _LINES * done_bytes // max(total_bytes, 1)
        if share > told:
            told = share
            print(f"ellq: {name}: {done_bytes / 1e6:.1f} of {total_bytes / 1e6:.1f} MB, at {tensor}", file=sys.stderr)

    return show
