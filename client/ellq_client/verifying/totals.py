"""Checks the totals and the warnings of a report."""

from collections.abc import Sequence

from ellq_client.errors import ClaimRefuted
from ellq_client.report import Report
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.expectations import matches
from ellq_client.verifying.tensors import CutTensor, check_indices
from ellq_math.certificates import certify_pool
from ellq_math.pooling import pool
from ellq_math.values import RowStatistics

MOST_WARNINGS = 100
"""Warnings that a summary holds at most: with as many, others may be missing."""


def check_summary(report: Report, layers: Sequence[RowStatistics], cuts: Sequence[CutTensor]) -> None:
    """Check what the report adds up; `layers` and `cuts` are of its compressible tensors. Errors: ClaimRefuted."""
    claims, summary = Claims(), report.summary
    claims.equal("summary.tensors", summary.tensors, len(report.tensors))
    claims.equal("summary.compressible_tensors", summary.compressible_tensors, len(layers))
    claims.equal("summary.weights", summary.weights, sum(layer.fan_in for layer in layers))
    claims.equal("summary.zeros_before", summary.zeros_before, sum(int(layer.zeros[0]) for layer in layers))
    _check_warnings(report)
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


def _check_warnings(report: Report) -> None:
    """Check that every warning is true, and that no glob without a match goes without one."""
    idle = _idle_globs(report)
    warned = [warning.subject for warning in report.summary.warnings if warning.code == "glob_without_match"]
    for glob in idle:
        if len(report.summary.warnings) < MOST_WARNINGS and not any(_stands_for(subject, glob) for subject in warned):
            raise ClaimRefuted("summary.warnings", claimed="complete", found=f"the glob {glob!r} matches no tensor")
    for warning in report.summary.warnings:
        true = {
            "glob_without_match": any(_stands_for(warning.subject, glob) for glob in idle),
            "nonfinite_passed_through": any(
                _stands_for(warning.subject, tensor.name) for tensor in report.tensors if tensor.reason == "nonfinite"
            ),
            "nothing_compressible": all(tensor.reason for tensor in report.tensors if tensor.reason != "nonfinite"),
        }
        if not true.get(warning.code):
            raise ClaimRefuted(f"summary.warnings ({warning.code})", claimed=warning.text, found="not so")


def _idle_globs(report: Report) -> set[str]:
    """Return the globs of the request that match no tensor."""
    request = report.request
    globs = {*request.include, *request.exclude, *(override.glob for override in request.overrides)}
    return {glob for glob in globs if not any(matches(glob, tensor.name) for tensor in report.tensors)}


def _stands_for(subject: str, name: str) -> bool:
    """Return whether a warning's subject is this name, perhaps cut short for the wire."""
    return subject == name or (subject.endswith("…") and name.startswith(subject[:-1]))


def _present(value: float | None, name: str) -> float:
    if value is None:
        raise ClaimRefuted(f"summary.{name}", claimed="absent", found="a rule applies")
    return value
