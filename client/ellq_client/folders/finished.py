"""Whether what should be finished is, by its bytes."""

from collections.abc import Sequence
from filecmp import cmp
from pathlib import Path
from typing import Any

from ellq_client.errors import ReportError, SourceError
from ellq_client.folders.folder import Folder, Shard
from ellq_client.folders.plan import fingerprint_of
from ellq_client.packing.naming import stored_name
from ellq_client.packing.reading import open_checkpoint
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


def finished_report(folder: Folder, plan: dict[str, Any], output: Path) -> FolderReport | None:
    """Return the report of an output in which all of this plan is done; None when it is anything else."""
    try:
        told = read_folder_report(output / REPORT)
    except ReportError:
        return None
    if told.fingerprint != fingerprint_of(plan):
        return None
    shards = {shard.name: shard for shard in folder.shards}
    if [name for part in told.parts for name in part.shards] != [*shards] or not all(part.shards for part in told.parts):
        return None
    whole = all(holds(part, [shards[name] for name in part.shards], output) for part in told.parts)
    return told if whole and _has_others(folder, output) else None


def _has_others(folder: Folder, output: Path) -> bool:
    index = folder.index
    try:
        same = index is None or (output / index.name).read_bytes() == index.with_total(folder.payload_bytes)
        return same and all(cmp(file.path, output / file.name, shallow=False) for file in folder.others if file.name != REPORT)
    except OSError:
        return False
