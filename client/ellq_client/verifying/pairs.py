"""Holds one compressed stream against its original and, if there is one, against the report of how it was made."""

import json
from dataclasses import dataclass

from ellq.v1.meanings import read_meanings
from ellq_client.checkpoint import Checkpoint
from ellq_client.counting import counted, grouped
from ellq_client.enclosures import AnyMoments, AnyNetwork
from ellq_client.errors import ClaimRefuted
from ellq_client.plain import to_plain
from ellq_client.report import Report
from ellq_client.rules import ErrorBudget, Lasso
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.enclosed import Enclosed, hold_enclosed
from ellq_client.verifying.reports import ReportCheck
from ellq_client.verifying.zeros import compare_zeros

SCHEMA = "ellq.verification/1"
"""Name and version of what verify writes as JSON."""

_WITHOUT_NETWORK = "the certificate of the whole network: hand in the network and what was known of its inputs"
_WITHOUT_MOMENTS = "mean squares under the moments, and the choice of weights that went by them: hand in the moments"
_NETWORK_WITHOUT_MOMENTS = "the certificate of the whole network: it rests on the moments, too"
_BUDGET_BLIND = "that the error budget cut the cheapest weights, and what they cost"
_DEAD_BLIND = "that removed neurons are dead; rows without a weight were taken for them"
_REFITTED = "that LASSO could not do with fewer weights; what it lost was recomputed if there are moments"
_MEASURED = "that the measured budget could not cut more; that it cut the cheapest weights was recomputed"


@dataclass(frozen=True)
class Verification:
    """What was checked, and held."""

    tensors: int
    changed_tensors: int
    """Tensors that are not byte for byte those of the original."""
    weights_cut: int
    """Non-zero weights of the original that are zero now."""
    report_checked: bool
    """Whether the claims of a report were recomputed, too."""
    refitted_tensors: int = 0
    """Tensors whose kept weights may have other values: LASSO refits them."""
    unchecked: tuple[str, ...] = ()
    """Claims of the report that what was handed in does not suffice to recompute, each as a phrase."""

    def told(self) -> str:
        """Return what was checked, for a person."""
        lines = [f"holds: {counted(self.tensors, 'tensor')}; as safetensors, both have the same header and the same length"]
        differ = f"holds: {counted(self.changed_tensors, 'tensor')} {'differs' if self.changed_tensors == 1 else 'differ'}, "
        cut = counted(self.weights_cut, "weight")
        if self.refitted_tensors:
            lines.append(f"{differ}by zeros in place of {cut} and, in {grouped(self.refitted_tensors)}, new values")
        else:
            lines.append(f"{differ}only by zeros in place of {cut}")
        if not self.report_checked:
            lines.append("no report given: nothing is said about indices, kept counts and certificates")
        else:
            which = "every other claim" if self.unchecked else "every claim"
            lines.append(f"holds: {which} of the report, recomputed from what was handed in")
        lines += [f"NOT CHECKED: {phrase}" for phrase in self.unchecked]
        if self.unchecked:
            lines.append(f"verified in part: {counted(len(self.unchecked), 'point')} above NOT CHECKED, all else holds")
        return "\n".join(lines)


def verification_text(verification: Verification) -> str:
    """Return what was checked, and what was not, as JSON."""
    return json.dumps({"schema": SCHEMA, **to_plain(verification)}, indent=1, allow_nan=False) + "\n"


def hold(
    before: Checkpoint, after: Checkpoint, told: Report | None, *, network: AnyNetwork | None, moments: AnyMoments | None
) -> Verification:
    """Check what came back; with a report, recompute every claim in it. Errors: as verify."""
    _check_headers(before, after)
    refitted = _refitted(told)
    meanings = read_meanings(before.tensors)
    changes = [
        compare_zeros(
            tensor, before, after, refitted=tensor.name in refitted, untouched=meanings.reason(tensor.name) is not None
        )
        for tensor in before.tensors
    ]
    unchecked: tuple[str, ...] = ()
    if told is not None:
        enclosed = hold_enclosed(told.request, before, after, network, moments)
        ReportCheck(told, enclosed).check()
        unchecked = _unchecked(enclosed)
    changed = [tensor for tensor in before.tensors if _differs(tensor.begin, tensor.end, before, after)]
    return Verification(
        tensors=len(changes),
        changed_tensors=len(changed),
        weights_cut=sum(changes),
        report_checked=told is not None,
        refitted_tensors=len(refitted),
        unchecked=unchecked,
    )


def _check_headers(before: Checkpoint, after: Checkpoint) -> None:
    claims = Claims()
    claims.equal("length in bytes", after.size_bytes, before.size_bytes)
    if after.header != before.header:
        raise ClaimRefuted("header", claimed="that of the original, byte for byte", found="another one")


def _differs(begin: int, end: int, before: Checkpoint, after: Checkpoint) -> bool:
    return any(old != new for old, new in zip(before.pieces(begin, end), after.pieces(begin, end), strict=True))


def _refitted(report: Report | None) -> set[str]:
    """Return the names of tensors whose weights may have other values; that the rule is theirs is checked with the report."""
    if report is None:
        return set()
    compressed = [tensor for tensor in report.tensors if tensor.treatment == "compress"]
    return {tensor.name for tensor in compressed if isinstance(tensor.rule or report.request.rule, Lasso)}


def _unchecked(enclosed: Enclosed) -> tuple[str, ...]:
    """Return what could not be recomputed."""
    request, rule = enclosed.request, enclosed.request.rule
    blind = enclosed.lacks_network or enclosed.lacks_moments
    measured = isinstance(rule, ErrorBudget) and rule.measured and rule.max_error is not None
    phrases = {
        _WITHOUT_NETWORK: enclosed.lacks_network,
        _NETWORK_WITHOUT_MOMENTS: enclosed.network is not None and enclosed.lacks_moments,
        _WITHOUT_MOMENTS: enclosed.lacks_moments,
        _BUDGET_BLIND: isinstance(rule, ErrorBudget) and blind,
        _DEAD_BLIND: request.remove_dead_neurons and enclosed.lacks_network,
        _REFITTED: any(isinstance(one, Lasso) for one in (rule, *(override.rule for override in request.overrides))),
        _MEASURED: measured and not blind,
    }
    return tuple(phrase for phrase, holds in phrases.items() if holds)
