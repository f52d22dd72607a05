"""Whether what should be finished is, by its bytes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from filecmp import cmp
from pathlib import Path
from typing import Any

from ellq_client.errors import InvalidOutput, ReportError, SourceError
from ellq_client.folders.folder import Folder, Shard
from ellq_client.folders.plan import fingerprint_of, other_options
from ellq_client.packing.naming import stored_name
from ellq_client.packing.reading import open_checkpoint
from ellq_client.plain import to_plain
from ellq_client.report import FolderReport, Part, read_folder_report

REPORT = "ellq-report.json"
"""Name of the report inside an output folder."""


def holds(part: Part, shards: Sequence[Shard], *directories: Path) -> bool:
    """Return whether all shards of a part lie in one of these folders, each byte as its report has it."""
    digests = {tensor.name: tensor.payload.sha256 for tensor in part.report.tensors if tensor.payload is not None}
    encoding = part.report.request.encoding
    return all(_is_whole(shard, stored_name(shard.name, encoding), digests, directories) for shard in shards)


def _is_whole(shard: Shard, name: str, digests: dict[str, str], directories: Sequence[Path]) -> bool:
    place = next((directory / name for directory in directories if (directory / name).is_file()), None)
    if place is None:
        return False
    try:
        with open_checkpoint(place) as found:
            return found.header == shard.header and all(
                digests.get(tensor.name) == found.digest(tensor.begin, tensor.end) for tensor in found.tensors
            )
    except SourceError:
        return False


def finished_report(folder: Folder, plan: Mapping[str, Any], output: Path) -> FolderReport | None:
    """Return the report of an output in which all of this plan is done; None when there is no report.

    Errors: InvalidOutput for an output of another plan, or one that changed, naming what differs.
    """
    try:
        told = read_folder_report(output / REPORT)
    except ReportError:
        return None
    other = list(_differences(told, plan))
    if other:
        raise InvalidOutput(_refusal(f"{output} is finished, and this is not the command that made it", other))
    changed = list(_changes(told, folder, output))
    if changed:
        raise InvalidOutput(_refusal(f"{output} was finished, and is not what its report says any more", changed))
    return told


def _refusal(what: str, reasons: Sequence[str]) -> str:
    return "\n  ".join([f"{what}; name a new folder, or remove it:", *reasons])


def _differences(told: FolderReport, plan: Mapping[str, Any]) -> Iterator[str]:
    if told.fingerprint == fingerprint_of(plan):
        return
    asked: dict[str, Any] = json.loads(json.dumps(to_plain(told.parts[0].report.request))) if told.parts else {}
    options = other_options(asked, plan["request"])
    yield from (f"it was made with {option}" for option in options)
    if not options:
        yield "shards or index of the source are not what they were then: their names, sizes, times or headers"


def _changes(told: FolderReport, folder: Folder, output: Path) -> Iterator[str]:
    shards = {shard.name: shard for shard in folder.shards}
    if [name for part in told.parts for name in part.shards] != [*shards] or not all(part.shards for part in told.parts):
        yield f"{REPORT} does not tell of each shard once"
        return
    for part in told.parts:
        if not holds(part, [shards[name] for name in part.shards], output):
            yield f"{', '.join(part.shards)}: not every byte is as {REPORT} has it"
    for file in folder.others:
        if file.name != REPORT and not _is_same(file.path, output / file.name):
            yield f"{file.name} is not that of the source"
    index = folder.index
    if index is not None and not _contains(output / index.name, index.with_total(folder.payload_bytes)):
        yield f"{index.name} is not that of the source"


def _is_same(one: Path, other: Path) -> bool:
    try:
        return cmp(one, other, shallow=False)
    except OSError:
        return False


def _contains(place: Path, text: bytes) -> bool:
    try:
        return place.read_bytes() == text
    except OSError:
        return False
