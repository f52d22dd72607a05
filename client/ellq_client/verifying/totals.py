"""Checks the totals of a report, of a file or of a folder."""

from collections.abc import Sequence
from dataclasses import fields

from ellq_client.errors import ClaimRefuted
from ellq_client.folders.folder import Folder
from ellq_client.folders.totals import WIDENING, summary_of
from ellq_client.mirror import wire_name
from ellq_client.report import FolderReport, Report
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.measurements import check_indices
from ellq_client.verifying.tensors import CutTensor
from ellq_math.certificates import certify_pool
from ellq_math.pooling import pool
from ellq_math.values import RowStatistics


def check_summary(report: Report, layers: Sequence[RowStatistics], cuts: Sequence[CutTensor]) -> None:
    """Check what the report adds up; `layers` and `cuts` are of its compressible tensors. Errors: ClaimRefuted."""
    claims, summary = Claims(), report.summary
    claims.equal("summary.tensors", summary.tensors, len(report.tensors))
    claims.equal("summary.compressible_tensors", summary.compressible_tensors, len(layers))
    claims.equal("summary.weights", summary.weights, sum(layer.fan_in for layer in layers))
    claims.equal("summary.zeros_before", summary.zeros_before, sum(int(layer.zeros[0]) for layer in layers))
    if not layers:
        return
    if summary.global_ is None:
        raise ClaimRefuted("summary.global", claimed="absent", found="measured tensors")
    ignore_zeros = report.request.ignore_zeros
    check_indices(claims, "summary.global", summary.global_, pool(list(layers)), report.indices, ignore_zeros=ignore_zeros)
    claims.equal("summary.zeros_after", summary.zeros_after, sum(cut.zeros for cut in cuts))
    claims.equal("summary.kept", summary.kept, sum(cut.kept for cut in cuts))
    found = certify_pool([cut.cut_norm for cut in cuts], [cut.whole_norm for cut in cuts])
    claims.covers("summary.frobenius", _present(summary.frobenius, "frobenius"), found.frobenius)
    claims.covers("summary.frobenius_ratio", _present(summary.frobenius_ratio, "frobenius_ratio"), found.frobenius_ratio)


def check_totals(told: FolderReport, folder: Folder) -> None:
    """Check what the report of a folder adds up from those of its parts, which are true. Errors: ClaimRefuted."""
    claims, summary = Claims(), told.summary
    found = summary_of(folder, told.parts, widening=WIDENING / 2)  # half of it covers any rounding, here and there
    for name in (field.name for field in fields(summary) if field.name not in ("frobenius", "frobenius_ratio", "warnings")):
        claims.equal(f"summary.{wire_name(name)}", getattr(summary, name), getattr(found, name))
    for name in ("frobenius", "frobenius_ratio"):
        claims.covers(f"summary.{name}", _present(getattr(summary, name), name), getattr(found, name))
    warned, due = ([(one.code, one.subject) for one in each.warnings] for each in (summary, found))
    claims.equal("summary.warnings", warned, due)


def _present(value: float | None, name: str) -> float:
    if value is None:
        raise ClaimRefuted(f"summary.{name}", claimed="absent", found="a rule applies")
    return value
