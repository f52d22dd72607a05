"""What the parts of a folder come to, together."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import hypot, inf, nextafter
from pathlib import Path

from ellq_client.contract import MOST_WARNINGS
from ellq_client.folders.chain import chained_header
from ellq_client.folders.folder import Folder
from ellq_client.folders.torn import torn
from ellq_client.packing.entropies import PackedSizes, together
from ellq_client.report import FolderCompression, FolderReport, OutputFile, Part, Report
from ellq_client.results import SourceFile, header_digest
from ellq_client.values import Indices, ReportWarning, Summary, TensorReport

WIDENING = 2.0**-40
"""Far above the relative error of a reported norm, a few roundings of doubles, and above what bounds are rounded up by."""

_LEAST_NORM = 2.0**-960
"""A smaller norm may have lost digits, as a subnormal number."""

_ORDER = (
    "glob_without_match", "quantized_passed_through", "stored_values", "scale_unusable", "nothing_compressible",
    "nonfinite_passed_through",
)  # fmt: skip
"""In which order one call warns."""

_OF_ALL = ("glob_without_match", "nothing_compressible")
"""True of the whole only when true of every part."""

_ONCE = ("stored_values",)
"""Told once of a whole; the subject is the first of many."""

_COUNTED = {
    "quantized_passed_through": (("quantised layer ", "quantised layers "),),
    "stored_values": (("tensor of 8 bits has", "tensors of 8 bits have"), ("of it is of its", "of them is of their")),
}
"""Texts that begin with a count: what changes from one to many."""

_COUNT = re.compile(r"(\d+) ")


def result_of(folder: Folder, told: FolderReport, output: Path, *, confirmed: bool) -> FolderCompression:
    """Return the value of a folder that is compressed; `confirmed`: by an earlier call."""
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
        summary=told.summary,
        output=output,
        weights=None,
        packed=_packed(reports),
        permissions=folder.permissions,
        folder=told,
        confirmed=confirmed,
    )


def summary_of(folder: Folder, parts: Sequence[Part], *, widening: float = WIDENING) -> Summary:
    """Return the totals of a folder: its norms are `widening` (relatively) above those that come of its parts' norms."""
    reports = [part.report for part in parts]
    summary = _summary(reports, widening)
    return replace(summary, warnings=(*_size_warning(folder), *_torn_warnings(folder, reports), *summary.warnings))


def _numbered(reports: Sequence[Report]) -> Iterator[TensorReport]:
    """Yield all tensors, with their position among those of the folder."""
    first = 0
    for report in reports:
        for tensor in report.tensors:
            yield replace(tensor, tensor=first + tensor.tensor)
        first += len(report.tensors)


def as_one(source: SourceFile, reports: Sequence[Report], *, global_: Indices) -> Report:
    """Return the report of shards that were counted together, as one call with all of them would give it.

    The norms are upper bounds of those of the shards, in the last digits above what one call says.
    """
    summary = _summary(reports, WIDENING)
    return replace(
        reports[0],
        source=source,
        output=OutputFile(source.name, source.size_bytes, _packed(reports)),
        tensors=tuple(_numbered(reports)),
        summary=replace(summary, global_=global_, warnings=summary.warnings[:MOST_WARNINGS]),
    )


def _packed(reports: Sequence[Report]) -> PackedSizes | None:
    sizes = [report.output.packed for report in reports if report.output is not None and report.output.packed is not None]
    return together(sizes) if sizes else None


def _summary(reports: Sequence[Report], widening: float) -> Summary:
    totals = [report.summary for report in reports]
    return Summary(
        tensors=sum(total.tensors for total in totals),
        compressible_tensors=sum(total.compressible_tensors for total in totals),
        weights=sum(total.weights for total in totals),
        zeros_before=sum(total.zeros_before for total in totals),
        zeros_after=sum(total.zeros_after or 0 for total in totals),
        kept=sum(total.kept or 0 for total in totals),
        global_=totals[0].global_ if len(totals) == 1 else None,
        frobenius=_norm([total.frobenius or 0.0 for total in totals], widening),
        frobenius_ratio=_ratio(reports, widening),
        network=totals[0].network,  # with a network there is one part; without, all of them say that there is none
        warnings=_warnings(totals),
        timings=None,
    )


def _norm(norms: Sequence[float], widening: float) -> float:
    """Return the root of the sum of squares, rounded up: that of upper bounds is one. A single one and an exact 0 stay."""
    if len(norms) == 1:
        return norms[0]
    found = hypot(*norms) * (1 + widening)
    return nextafter(found, inf) if found else 0.0


def _ratio(reports: Sequence[Report], widening: float) -> float:
    """Return an upper bound of what was cut, relative to the norm of everything.

    The square of the ratio is the mean of those of the parts, each with the weight of its squared norm.
    """
    ratios = [report.summary.frobenius_ratio or 0.0 for report in reports]
    wholes = [hypot(*(one.measurement.l2 for one in report.tensors if one.measurement)) for report in reports]
    whole = hypot(*wholes)
    if len(reports) == 1 or not _LEAST_NORM < whole < inf:
        return max(ratios)
    # each term is rounded up by itself: beside much larger parts it may fall below every double
    terms = (nextafter(ratio * (norm / whole), inf) if ratio else 0.0 for ratio, norm in zip(ratios, wholes, strict=True))
    mean = hypot(*terms)
    return min(mean * (1 + widening), max(ratios))


def _warnings(totals: Sequence[Summary]) -> tuple[ReportWarning, ...]:
    """Return what one call with everything would warn of, in its order and in its words.

    That a glob matches nothing, or that nothing can be compressed, must be so in every part; what counts adds up.
    """
    told: dict[tuple[str, str], list[ReportWarning]] = {}
    for warning in (one for total in totals for one in total.warnings):
        told.setdefault((warning.code, "" if warning.code in _ONCE else warning.subject), []).append(warning)
    found = [_together(alike) for (code, _), alike in told.items() if code not in _OF_ALL or len(alike) == len(totals)]
    return tuple(sorted(found, key=_rank))


def _rank(warning: ReportWarning) -> tuple[int, str]:
    place = _ORDER.index(warning.code) if warning.code in _ORDER else len(_ORDER)
    return place, warning.subject if warning.code == "quantized_passed_through" else ""


def _together(alike: Sequence[ReportWarning]) -> ReportWarning:
    """Return one warning for several of a kind and a subject; where their text begins with a count, with the sum of these."""
    counts = [_COUNT.match(one.text) for one in alike]
    if alike[0].code not in _COUNTED or len(alike) == 1 or not all(counts):
        return alike[0]
    text = max(alike, key=lambda one: not one.text.startswith("1 ")).text
    for one, many in _COUNTED[alike[0].code] if text.startswith("1 ") else ():
        text = text.replace(one, many, 1)
    total = sum(int(count[1]) for count in counts if count)
    return replace(alike[0], text=_COUNT.sub(f"{total} ", text, count=1))


def _torn_warnings(folder: Folder, reports: Sequence[Report]) -> Iterator[ReportWarning]:
    """Warn of what was left alone without anybody having asked for it. Of shards in one stream the server warns itself."""
    excluded = {tensor.name for report in reports for tensor in report.tensors if tensor.reason == "excluded"}
    for name in islice((name for name in torn(folder.shards) if name in excluded), MOST_WARNINGS):
        told = f"{name} was left alone: what it stands for is told in another shard, as by a scale; put both into one"
        yield ReportWarning("torn_layer", name, told)


def _size_warning(folder: Folder) -> Iterator[ReportWarning]:
    index = folder.index
    if index is not None and index.told_total() not in (None, folder.payload_bytes):
        truth = f"all tensors have {folder.payload_bytes} bytes, as the new one says"
        yield ReportWarning("index_total_size", index.name, f"{index.name} says total_size {index.told_total()}; {truth}")
