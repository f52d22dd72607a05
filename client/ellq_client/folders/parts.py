"""Compresses a folder part by part, and notes each one that is finished."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from ellq_client.actions import Action, Event
from ellq_client.conversations import compress_into
from ellq_client.enclosures import Enclosures
from ellq_client.errors import EllqError
from ellq_client.folders.chain import source_of
from ellq_client.folders.finished import holds
from ellq_client.folders.folder import Folder, Shard
from ellq_client.folders.sink import ShardsSink
from ellq_client.folders.workplace import Workplace
from ellq_client.report import Part, Report, ServerCall, report_of
from ellq_client.requests import Request
from ellq_client.results import Compression, compression_of
from ellq_client.retrying import Patience


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
    folder: Folder, place: Workplace, request: Request, enclosures: Enclosures, patience: Patience
) -> Generator[Action, Event, tuple[Part, ...]]:
    """Compress every part that is not finished, each within the patience; afterwards all shards are whole.

    Where nothing was finished, now or before, whatever ends it early leaves nothing behind.
    """
    parts = parts_of(folder, request)
    done: list[Part] = []
    try:
        for shards in parts:
            names = tuple(shard.name for shard in shards)
            part = place.finished.get(names)
            if part is None or not holds(part, shards, place.directory, place.output):
                part = yield from _compress_part(folder, shards, place, request, enclosures, patience)
            done.append(part)
    except BaseException as error:
        place.abandon()
        if place.finished and isinstance(error, EllqError):
            finished = f"{len(done)} of {len(parts)} parts of {folder.path} are finished"
            error.add_note(f"{finished} in {place.output}; the same command goes on from there")
        raise
    return tuple(done)


def _compress_part(
    folder: Folder, shards: Sequence[Shard], place: Workplace, request: Request, enclosures: Enclosures, patience: Patience
) -> Generator[Action, Event, Part]:
    source = source_of(shards, name=folder.name)
    sink = ShardsSink(shards, place.directory)
    try:
        answer = yield from compress_into(sink, source, request, enclosures, patience)
        sink.commit()
    finally:
        sink.discard()
    result = compression_of(answer, request, source, output=Path(source.name), weights=None)
    part = Part(tuple(shard.name for shard in shards), _timeless(result))
    place.record(part)
    return part


def _timeless(result: Compression) -> Report:
    """Return a report that is the same whenever the same is done."""
    told = report_of(result)
    return replace(told, server=ServerCall(told.server.version, ""), summary=replace(told.summary, timings=None))
