"""Checks the warnings of a report: each is true, and none that must be there is missing."""

from collections.abc import Mapping

from ellq.v1.meanings import Meanings
from ellq_client.contract import MOST_WARNINGS
from ellq_client.errors import ClaimRefuted
from ellq_client.report import Report
from ellq_client.verifying.expectations import matches


def check_warnings(report: Report, meanings: Meanings) -> None:
    """Check all warnings; what a person must know goes without none. Errors: ClaimRefuted."""
    due = _due(report, meanings)
    warnings = report.summary.warnings
    for warning in warnings:
        subjects = due.get(warning.code, {})
        if not any(_stands_for(warning.subject, subject) for subject in subjects):
            raise ClaimRefuted(f"summary.warnings ({warning.code})", claimed=warning.text, found="not so")
    for code, subjects in due.items() if len(warnings) < MOST_WARNINGS else ():
        warned = [warning.subject for warning in warnings if warning.code == code]
        for subject, found in subjects.items():
            if not any(_stands_for(one, subject) for one in warned):
                raise ClaimRefuted("summary.warnings", claimed="complete", found=found)


def _due(report: Report, meanings: Meanings) -> dict[str, Mapping[str, str]]:
    """Return all warnings that there must be: what each is about, by code, and what it tells."""
    nonfinite = [tensor.name for tensor in report.tensors if tensor.reason == "nonfinite"]
    taken = {tensor.name for tensor in report.tensors if tensor.reason in (None, "nonfinite")}
    bare = [name for name in meanings.scales.without if name in taken][:1]
    layouts, unusable = meanings.quantized.layers, meanings.scales.unusable
    return {
        "glob_without_match": {glob: f"the glob {glob!r} matches no tensor" for glob in _idle_globs(report)},
        "nonfinite_passed_through": {name: f"tensor {name!r} holds NaN or infinity" for name in nonfinite},
        "nothing_compressible": {} if taken else {"": "no tensor is compressible"},
        "quantized_passed_through": {name: f"{count} quantised layers ({name})" for name, count in layouts.items()},
        "stored_values": {name: f"tensor {name!r} has 8 bits and no scale" for name in bare},
        "scale_unusable": {name: f"tensor {name!r}: {why}" for name, why in unusable.items()},
    }


def _idle_globs(report: Report) -> set[str]:
    """Return the globs of the request that match no tensor."""
    request = report.request
    globs = {*request.include, *request.exclude, *(override.glob for override in request.overrides)}
    return {glob for glob in globs if not any(matches(glob, tensor.name) for tensor in report.tensors)}


def _stands_for(subject: str, name: str) -> bool:
    """Return whether a warning's subject is this name, perhaps cut short for the wire."""
    return subject == name or (subject.endswith("…") and name.startswith(subject[:-1]))
