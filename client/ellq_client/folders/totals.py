"""What the parts of a folder come to, together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import hypot, inf, nextafter
from pathlib import Path

from ellq_client.folders.chain import chained_header
from ellq_client.folders.folder import Folder
from ellq_client.report import FolderCompression, FolderReport, Report
from ellq_client.results import SourceFile, header_digest
from ellq_client.values import ReportWarning, Summary, TensorReport

_NORM_ERROR = 2.0**-40
"""Far above the relative error of a reported norm, which is a few roundings of doubles."""


def result_of(folder: Folder, told: FolderReport, output: Path) -> FolderCompression:
    """Return the value of a folder that is compressed."""
    reports = [part.report for part in told.parts]
    first = reports[0]
    header = chained_header((shard.header, shard.tensors) for shard in folder.shards)
    return FolderCompression(
        request=first.request,
        source=SourceFile(folder.name, folder.size_bytes, header_digest(header)),
        request_id="",
        version=reports[-1].server.version,
        header_bytes=folder.size_bytes - folder.payload_bytes,
        payload_bytes=folder.payload_bytes,
        indices=first.indices,
        rule=first.request.rule,
        tensors=tuple(_numbered(reports)),
        summary=_summary(folder, reports),
        output=output,
        weights=None,
        folder=told,
    )


def _numbered(reports: Sequence[Report]) -> Iterator[TensorReport]:
    """Yield all tensors, with their position among those of the folder."""
    first = 0
    for report in reports:
        for tensor in report.tensors:
            yield replace(tensor, tensor=first + tensor.tensor)
        first += len(report.tensors)


def _summary(folder: Folder, reports: Sequence[Report]) -> Summary:
    totals = [report.summary for report in reports]
    return Summary(
        tensors=sum(total.tensors for total in totals),
        compressible_tensors=sum(total.compressible_tensors for total in totals),
        weights=sum(total.weights for total in totals),
        zeros_before=sum(total.zeros_before for total in totals),
        zeros_after=sum(total.zeros_after or 0 for total in totals),
        kept=sum(total.kept or 0 for total in totals),
        global_=totals[0].global_ if len(totals) == 1 else None,
        frobenius=_norm(total.frobenius or 0.0 for total in totals),
        frobenius_ratio=_ratio(reports),
        network=totals[0].network,  # with a network there is one part; without, all of them say that there is none
        warnings=(*_size_warning(folder), *_warnings(totals)),
        timings=None,
    )


def _norm(norms: Iterable[float]) -> float:
    """Return the root of the sum of squares, rounded up: that of upper bounds is one. An exact 0 stays."""
    found = hypot(*norms)
    return nextafter(nextafter(found, inf), inf) if found else 0.0


def _ratio(reports: Sequence[Report]) -> float:
    """Return an upper bound of what was cut, relative to the norm of everything.

    The square of the ratio is the mean of those of the parts, each with the weight of its squared norm.
    """
    ratios = [report.summary.frobenius_ratio or 0.0 for report in reports]
    wholes = [hypot(*(one.measurement.l2 for one in report.tensors if one.measurement)) for report in reports]
    whole = hypot(*wholes)
    if len(reports) == 1 or not 0 < whole < inf:
        return max(ratios)
    mean = hypot(*(ratio * (norm / whole) for ratio, norm in zip(ratios, wholes, strict=True)))
    return min(mean * (1 + _NORM_ERROR), max(ratios))


def _warnings(totals: Sequence[Summary]) -> Iterator[ReportWarning]:
    """Yield what holds of the whole folder: that nothing matches or can be compressed must be so in every part."""
    told = {(one.code, one.subject): one for total in totals for one in total.warnings}
    for (code, subject), warning in told.items():
        among = sum((code, subject) in {(one.code, one.subject) for one in total.warnings} for total in totals)
        if code == "nonfinite_passed_through" or among == len(totals):
            yield warning


def _size_warning(folder: Folder) -> Iterator[ReportWarning]:
    index = folder.index
    if index is not None and index.told_total() not in (None, folder.payload_bytes):
        truth = f"all tensors have {folder.payload_bytes} bytes, as the new one says"
        yield ReportWarning("index_total_size", index.name, f"{index.name} says total_size {index.told_total()}; {truth}")
