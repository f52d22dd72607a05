"""How far a run has come, on standard error: a bar on a terminal, now and then a line elsewhere."""

import sys
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Timer
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


def follow(run: Iterable[TensorReport], path: Path, *, embedded: bool, quiet: bool) -> None:
    """Take every report of a run and show how much of the file they cover."""
    waiting = Timer(_PATIENCE_SECONDS, _ask_for_patience)
    waiting.daemon = True
    if embedded and not quiet:
        waiting.start()
    try:
        with _display(path, quiet=quiet) as show:
            done_bytes = 0
            for report in run:
                waiting.cancel()
                done_bytes += stored_bytes(report.dtype, report.shape)
                show(done_bytes, harmless(report.name))
    finally:
        waiting.cancel()


def _ask_for_patience() -> None:
    told = "the service in this process is at work; its first start on a machine compiles the kernels, about ten seconds"
    print(f"ellq: {told}", file=sys.stderr, flush=True)


def _display(path: Path, *, quiet: bool) -> AbstractContextManager[_Display]:
    total_bytes = path.stat().st_size if path.is_file() else 0  # what is no file is refused by the run, with a better message
    terminal = sys.stderr.isatty()
    if quiet or (not terminal and total_bytes < _WORTH_LINES_BYTES):
        return nullcontext(lambda done_bytes, tensor: None)
    name = harmless(path.name)
    return _bar(name, total_bytes) if terminal else nullcontext(_lines(name, total_bytes))


@contextmanager
def _bar(name: str, total_bytes: int) -> Generator[_Display]:
    """Show one line that fits 80 columns: two names of 20, a bar of 16, sizes and time."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    names = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[tensor]}", markup=False)
    columns = (names[0], BarColumn(bar_width=10), DownloadColumn(), TimeRemainingColumn(compact=True), names[1])
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(shortened(name, _NAME_WIDTH), total=total_bytes, tensor="")
        yield lambda done_bytes, tensor: progress.update(task, completed=done_bytes, tensor=shortened(tensor, _NAME_WIDTH))


def _lines(name: str, total_bytes: int) -> _Display:
    told = 0

    def show(done_bytes: int, tensor: str) -> None:
        nonlocal told
        share = _LINES * done_bytes // max(total_bytes, 1)
        if share > told:
            told = share
            print(f"ellq: {name}: {done_bytes / 1e6:.1f} of {total_bytes / 1e6:.1f} MB, at {tensor}", file=sys.stderr)

    return show
