"""Compresses a folder part by part, and notes each one that is finished."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ellq_client.actions import Action, Event, together
from ellq_client.conversations import Task
from ellq_client.counting import counted_of
from ellq_client.enclosures import Enclosures
from ellq_client.errors import EllqError
from ellq_client.folders.chain import source_of
from ellq_client.folders.finished import holds
from ellq_client.folders.folder import Folder, Shard
from ellq_client.folders.pooled import Pool, goes_apart
from ellq_client.folders.sink import ShardsSink
from ellq_client.folders.sketches import indices_of
from ellq_client.folders.totals import as_one
from ellq_client.folders.workplace import Workplace
from ellq_client.report import Part, Report, ServerCall, report_of
from ellq_client.requests import Request
from ellq_client.results import Compression, SourceFile, compression_of
from ellq_client.retrying import Deadline, Patience


@dataclass(frozen=True)
class Asked:
    """What is asked of every part."""

    request: Request
    enclosures: Enclosures
    patience: Patience
    streams: int


def parts_of(folder: Folder, request: Request) -> list[tuple[Shard, ...]]:
    """Return the shards that go in one call each.

    All of them go in one when tensors of several shards decide together: one threshold over everything, where ties are used up
    in order, or a network. Moments go along with it.
    """
    everything = request.rule is not None and request.rule.scope == "global"
    if everything or request.network_sha256 is not None or request.moments_sha256 is not None:
        return [folder.shards]
    return [(shard,) for shard in folder.shards]


def compress_parts(
    folder: Folder, place: Workplace, request: Request, enclosures: Enclosures, patience: Patience, *, streams: int
) -> Generator[Action, Event, tuple[Part, ...]]:
    """Compress every part that is not finished, each within the patience; afterwards all shards are whole.

    At most `streams` parts are under way at a time. Where nothing was finished, now or before, whatever ends it early leaves
    nothing behind.
    """
    parts = parts_of(folder, request)
    asked = Asked(request, enclosures, patience, streams)
    work = [_finish(folder, shards, place, asked) for shards in parts]
    sizes = [sum(shard.payload_bytes for shard in shards) for shards in parts]
    try:
        return tuple((yield from together(work, width=min(streams, len(parts)), sizes=sizes)))
    except BaseException as error:
        place.abandon()
        if place.finished and isinstance(error, EllqError):
            finished = f"{counted_of(len(place.finished), len(parts), 'part')} of {folder.path} are finished"
            error.add_note(f"{finished} in {place.output}; the same command goes on from there")
        raise


def _finish(folder: Folder, shards: Sequence[Shard], place: Workplace, asked: Asked) -> Generator[Action, Event, Part]:
    """Compress a part, unless it is finished."""
    names = tuple(shard.name for shard in shards)
    part = place.finished.get(names)
    if part is not None:
        if holds(part, shards, place.directory, place.output):
            return part
        place.forget(part)
    report = yield from _compress(shards, place.directory, asked, name=folder.name)
    part = Part(names, report)
    place.record(part)
    return part


def _compress(shards: Sequence[Shard], directory: Path, asked: Asked, *, name: str) -> Generator[Action, Event, Report]:
    """Compress shards that decide together: in one stream if a server holds it or nothing else will do, else one by one."""
    source = source_of(shards, name=name)
    task = Task(source, asked.request, asked.enclosures, Deadline(asked.patience))
    sink = ShardsSink(shards, directory, encoding=asked.request.encoding)
    try:
        answer = yield from task.at_once(sink)
        if answer is None and goes_apart(shards, asked.request):
            return (yield from _compress_apart(Pool(task, shards, directory, asked.streams)))
        answer = answer or (yield from task.by_sketch(sink))
        sink.commit()
    finally:
        sink.discard()
    done = compression_of(answer, asked.request, source, output=Path(source.name), weights=None, packed=sink.sizes)
    return _timeless(done)


def _compress_apart(pooled: Pool) -> Generator[Action, Event, Report]:
    """Compress shards in calls of their own; return the report of one."""
    results, sketch = yield from pooled.compress()
    source, first = pooled.task.source, results[0]
    return as_one(
        SourceFile(source.name, source.size_bytes, source.header.sha256),
        [_timeless(result) for result in results],
        global_=indices_of(sketch, first.indices, ignore_zeros=first.request.ignore_zeros),
    )


def _timeless(result: Compression) -> Report:
    """Return a report that is the same whenever the same is done."""
    told = report_of(result)
    return replace(told, server=ServerCall(told.server.version, ""), summary=replace(told.summary, timings=None))
