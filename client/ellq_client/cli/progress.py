"""How far a run has come, on standard error: a bar on a terminal, now and then a line elsewhere."""

import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import Protocol

from ellq_client.cli.pace import Pace
from ellq_client.cli.wording import harmless, shortened
from ellq_client.embedded import compiles_first
from ellq_client.errors import EllqError
from ellq_client.headers import stored_bytes
from ellq_client.values import TensorReport

_LINES = 10
_WORTH_LINES_BYTES = 10_000_000
_PATIENCE_SECONDS = 1.5
_NAME_WIDTH = 20


class Display(Protocol):
    """Shows that so much is done, and at which tensor; "" where there is no saying."""

    def __call__(self, done_bytes: int, tensor: str, /) -> None:
        """Show it."""
        ...


@dataclass(frozen=True)
class Work:
    """What a run has to do."""

    name: str
    total_bytes: int
    """0: only the server knows."""
    done_bytes: int = 0
    """Of these, what an earlier run did."""


def work_on(path: Path | str, output: Path | str | None = None) -> Work:
    """Return the work on a file or a folder. Errors: SourceError, OutputError for a folder; the run itself refuses files."""
    if isinstance(path, str):
        return Work(path, 0)
    if not os.path.isdir(path):  # which raises nothing for a name that is too long, as isfile does not
        return Work(path.name, _unpacked_bytes(path) if os.path.isfile(path) else 0)
    from ellq_client.folders.folder import open_folder
    from ellq_client.folders.journal import read_journal

    folder = open_folder(path)
    sizes = {shard.name: shard.payload_bytes for shard in folder.shards}
    finished = () if not isinstance(output, Path) else {name for part in read_journal(output) for name in part.shards}
    return Work(folder.name, folder.payload_bytes, sum(sizes.get(name, 0) for name in finished))


def _unpacked_bytes(path: Path) -> int:
    """Return the length of a file, of a packed one when it is dense."""
    from ellq_client.packing.reading import open_checkpoint

    try:
        with open_checkpoint(path) as checkpoint:
            return checkpoint.size_bytes
    except EllqError:
        return path.stat().st_size


def follow(run: Iterable[TensorReport], work: Work, *, embedded: bool, quiet: bool) -> None:
    """Take every report of a run and show how much of the work they cover."""
    waiting = Timer(_PATIENCE_SECONDS, _ask_for_patience)
    waiting.daemon = True
    if embedded and not quiet:
        waiting.start()
    try:
        with display(work, quiet=quiet) as show:
            done_bytes = work.done_bytes
            for report in run:
                waiting.cancel()
                done_bytes += stored_bytes(report.dtype, report.shape)
                show(done_bytes, harmless(report.name))
    finally:
        waiting.cancel()


def _ask_for_patience() -> None:
    if compiles_first():
        told = "the service in this process compiles its kernels, about half a minute; its later starts do not"
        print(f"ellq: {told}", file=sys.stderr, flush=True)


def display(work: Work, *, quiet: bool) -> AbstractContextManager[Display]:
    """Return what shows how much of the work is done, unless it is too little to show or should be quiet."""
    terminal = sys.stderr.isatty()
    if quiet or (not terminal and work.total_bytes < _WORTH_LINES_BYTES):
        return nullcontext(lambda done_bytes, tensor: None)
    return _bar(work) if terminal else nullcontext(_lines(work))


@contextmanager
def _bar(work: Work) -> Generator[Display]:
    """Show one line that fits 80 columns: two names of 20, a bar of 10, sizes and time."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    name, left, at = (
        TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[left]}", "{task.fields[at]}")
    )
    with Progress(
        name, BarColumn(bar_width=10), DownloadColumn(), left, at, console=Console(stderr=True), transient=True
    ) as bar:
        told = shortened(harmless(work.name), _NAME_WIDTH)
        task = bar.add_task(told, total=work.total_bytes or None, completed=work.done_bytes, left="", at="")
        pace = Pace(work.total_bytes, done_bytes=work.done_bytes)

        def show(done_bytes: int, tensor: str) -> None:
            seconds = pace.remaining_seconds(done_bytes)
            bar.update(task, completed=done_bytes, left=_left(seconds), at=shortened(tensor, _NAME_WIDTH))

        yield show


def _lines(work: Work, clock: Callable[[], float] = monotonic) -> Display:
    shown = _LINES * work.done_bytes // max(work.total_bytes, 1)
    pace = Pace(work.total_bytes, done_bytes=work.done_bytes, clock=clock)
    if work.done_bytes:
        print(f"ellq: {harmless(work.name)}: {work.done_bytes / 1e6:.1f} MB were done before", file=sys.stderr)

    def show(done_bytes: int, tensor: str) -> None:
        nonlocal shown
        seconds = pace.remaining_seconds(done_bytes)
        reached = _LINES * done_bytes // max(work.total_bytes, 1)
        if reached > shown:
            shown = reached
            sizes = f"{done_bytes / 1e6:.1f} of {work.total_bytes / 1e6:.1f} MB"
            left = "" if seconds is None else f", about {_left(seconds)}"
            at = tensor and f", at {tensor}"
            print(f"ellq: {harmless(work.name)}: {sizes}{left}{at}", file=sys.stderr)

    return show


def _left(seconds: float | None) -> str:
    """Return what to say of a time that remains; nothing when it is not known."""
    return "" if seconds is None else f"{_duration(seconds)} left"


def _duration(seconds: float) -> str:
    """Return a time in the unit that fits it, no finer than an estimate is."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{ceil(seconds)} s"
