"""Checks a compressed folder: its shards part by part, its index, and that all other files came along."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from filecmp import cmp
from pathlib import Path

from ellq_client.checkpoint import Checkpoint
from ellq_client.enclosures import AnyMoments, AnyNetwork
from ellq_client.errors import ClaimRefuted, SourceError
from ellq_client.folders.chain import ChainedCheckpoint
from ellq_client.folders.finished import REPORT
from ellq_client.folders.folder import Folder, open_folder
from ellq_client.packing.reading import open_checkpoint
from ellq_client.report import FolderReport, Part, read_folder_report
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.packed import check_packed
from ellq_client.verifying.pairs import Verification, hold
from ellq_client.verifying.totals import check_totals


def verify_folders(
    original: Path, compressed: Path, report: Path | None, *, network: AnyNetwork | None, moments: AnyMoments | None
) -> Verification:
    """Check every shard, the index and the other files. Errors: as verify; ClaimRefuted for files that did not come along."""
    told = None if report is None else read_folder_report(report)
    before, after = open_folder(original), open_folder(compressed)
    _check_files(before, after)
    parts = _single_shards(before) if told is None else _named_parts(before, told)
    held: list[Verification] = []
    for shards, part in parts:
        with ExitStack() as opened:
            old, new = (opened.enter_context(_open(folder, shards)) for folder in (before, after))
            one = hold(old, new, None if part is None else part.report, network=network, moments=moments)
        unchecked = check_packed(_paths(after, shards), None if part is None else part.report)
        held.append(replace(one, unchecked=(*one.unchecked, *unchecked)))
    if told is not None:
        check_totals(told, before)
    return _together(held, report_checked=told is not None)


def _check_files(before: Folder, after: Folder) -> None:
    claims = Claims()
    claims.equal("names of shards", [shard.name for shard in after.shards], [shard.name for shard in before.shards])
    if before.index is not None:
        found = None if after.index is None else after.index.text
        if found != before.index.with_total(before.payload_bytes):
            raise ClaimRefuted(before.index.name, claimed="that of the original, with the true size", found="another one")
    copies = {file.name: file.path for file in after.others}
    for file in before.others:
        if file.name == REPORT:
            continue  # a compressed folder that was compressed again has the new one
        copy = copies.get(file.name)
        if copy is None or not _same(file.path, copy):
            found = "no such file" if copy is None else "another file"
            raise ClaimRefuted(file.name, claimed="that of the original, byte for byte", found=found)


def _same(one: Path, other: Path) -> bool:
    try:
        return cmp(one, other, shallow=False)
    except OSError as error:
        raise SourceError(f"cannot read {error.filename}: {error.strerror}") from error


def _single_shards(folder: Folder) -> list[tuple[tuple[str, ...], Part | None]]:
    return [((shard.name,), None) for shard in folder.shards]


def _named_parts(folder: Folder, told: FolderReport) -> list[tuple[tuple[str, ...], Part | None]]:
    """Return the parts of a report, which must tell of every shard once and of one request."""
    claims = Claims(likely="this report is not of these folders")
    names = [name for part in told.parts for name in part.shards]
    claims.equal("shards of the report", names, [shard.name for shard in folder.shards])
    for part in told.parts:
        claims.equal("request", part.report.request, told.parts[0].report.request)
    return [(part.shards, part) for part in told.parts]


def _open(folder: Folder, names: Sequence[str]) -> Checkpoint:
    paths = _paths(folder, names)
    return open_checkpoint(paths[0]) if len(paths) == 1 else ChainedCheckpoint(paths, path=folder.path)


def _paths(folder: Folder, names: Sequence[str]) -> list[Path]:
    return [shard.path for shard in folder.shards if shard.name in names]


def _together(held: Sequence[Verification], *, report_checked: bool) -> Verification:
    return Verification(
        tensors=sum(one.tensors for one in held),
        changed_tensors=sum(one.changed_tensors for one in held),
        weights_cut=sum(one.weights_cut for one in held),
        report_checked=report_checked,
        refitted_tensors=sum(one.refitted_tensors for one in held),
        unchecked=tuple(dict.fromkeys(phrase for one in held for phrase in one.unchecked)),
    )
