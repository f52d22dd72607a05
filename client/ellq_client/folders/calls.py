"""What is asked of weights wherever they lie: in a file, in memory, or in a folder, which takes a call for each part.

A compression of a folder may be killed at any moment: the same request goes on, and parts that are finished stay.
"""

import os
import shutil
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ellq_client import by_reference, conversations
from ellq_client.actions import Action, Event
from ellq_client.enclosures import Enclosures
from ellq_client.errors import InvalidOutput
from ellq_client.fitting import fitted
from ellq_client.folders.chain import source_of
from ellq_client.folders.files import PROGRESS
from ellq_client.folders.finished import REPORT, finished_report
from ellq_client.folders.folder import Folder, open_folder
from ellq_client.folders.parts import compress_parts
from ellq_client.folders.places import check_folder_place
from ellq_client.folders.plan import fingerprint_of, plan_of
from ellq_client.folders.torn import without_torn
from ellq_client.folders.totals import result_of, summary_of
from ellq_client.folders.workplace import Workplace
from ellq_client.packing.naming import stored_name
from ellq_client.report import FOLDER_SCHEMA, FolderReport, Part, plain_text, this_tool
from ellq_client.requests import Request
from ellq_client.results import Analysis, Compression
from ellq_client.retrying import Patience
from ellq_client.sources import Source, WeightSource, is_folder, open_source
from ellq_client.uris import check_path, is_uri


def analyze(
    weights: WeightSource, request: Request, enclosures: Enclosures, patience: Patience
) -> Generator[Action, Event, Analysis]:
    """Analyse the weights; all shards of a folder in one call."""
    if is_uri(weights):
        return (yield from by_reference.analyze(weights, request, enclosures, patience))
    return (yield from conversations.analyze(_source(weights), request, enclosures, patience))


def compress(
    weights: WeightSource,
    output: Path | str | None,
    request: Request,
    enclosures: Enclosures,
    patience: Patience,
    *,
    streams: Callable[[], int],
    replace_output: bool,
) -> Generator[Action, Event, Compression]:
    """Compress the weights into a file, a folder into a folder, either into memory without an output.

    Of a folder at most `streams()` parts are under way at a time, which changes nothing but the time that it takes.
    """
    if not replace_output and isinstance(output, Path) and not is_folder(weights) and os.path.lexists(output):
        raise InvalidOutput(f"{output} exists, and replace_output is False")
    if is_uri(weights) or isinstance(output, str):
        calls = by_reference.compress(weights, output, request, enclosures, patience, replace_output=replace_output)
        return (yield from calls)
    if output is None or not is_folder(weights):
        source = _source(weights)
        calls = conversations.compress(source, output, request, enclosures, patience, replace_output=replace_output)
        return (yield from calls)
    folder = open_folder(Path(weights))
    check_folder_place(folder.path, output)
    request = without_torn(fitted(request, source_of(folder.shards, name=folder.name), enclosures), folder.shards)
    plan = plan_of(folder, request)
    told = _finished(folder, plan, output)
    confirmed = told is not None
    if told is None:
        with Workplace(folder, output, plan) as place:
            width = streams()
            patience = replace(patience, outlasts_busy=width > 1)  # the calls that keep it busy may be our own
            parts = yield from compress_parts(folder, place, request, enclosures, patience, streams=width)
            told = _report(folder, plan, parts)
            _put_in_place(folder, told, place)
    else:
        shutil.rmtree(output / PROGRESS, ignore_errors=True)  # there when a kill came between the last file and the end
    return result_of(folder, told, output, confirmed=confirmed)


def _source(weights: WeightSource) -> Source:
    check_path(weights)
    if not is_folder(weights):
        return open_source(weights)
    folder = open_folder(Path(weights))
    return source_of(folder.shards, name=folder.name)


def _finished(folder: Folder, plan: Mapping[str, Any], output: Path) -> FolderReport | None:
    """Return the report of an output that this plan left finished; None: there is something to do, or to be refused by."""
    try:
        return finished_report(folder, plan, output) if (output / REPORT).is_file() else None
    except InvalidOutput:
        if os.path.lexists(output / PROGRESS):
            return None  # it goes on, or says itself with which command
        raise


def _report(folder: Folder, plan: Mapping[str, Any], parts: tuple[Part, ...]) -> FolderReport:
    summary = summary_of(folder, parts)
    return FolderReport(FOLDER_SCHEMA, "compress", this_tool(), folder.name, fingerprint_of(plan), summary, parts)


def _put_in_place(folder: Folder, told: FolderReport, place: Workplace) -> None:
    """Make the output whole. The index comes last: before it, nobody takes the folder for a checkpoint."""
    for file in folder.others:
        if file.name != REPORT:
            place.put_copy(file)
    place.put(plain_text(told).encode(), REPORT, permissions=folder.permissions)
    for shard in folder.shards:
        place.release(stored_name(shard.name, told.parts[0].report.request.encoding))
    if folder.index is not None:
        text = folder.index.with_total(folder.payload_bytes)
        place.put(text, folder.index.name, permissions=folder.index.permissions)
    place.remove()
