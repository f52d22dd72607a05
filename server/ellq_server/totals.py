"""What a whole call adds up to."""

from ellq.v1 import compression_pb2 as pb
from ellq_math.certificates import SquaredNorm, certify_pool, whole_norm
from ellq_math.pooling import pool
from ellq_math.values import RowStatistics
from ellq_server.cautions import cautions, nonfinite
from ellq_server.planning import Plan, Planning, Reason
from ellq_server.refusals import shorten
from ellq_server.requests import Request
from ellq_server.wire_values import indices_of_row
from ellq_server.workbench import Outcome

MOST_WARNINGS = 100
"""Warnings that travel: the summary is one frame, and a sketch may fill most of it."""

NOTHING_CUT = SquaredNorm(square=0.0, exponent=0, roundings=0, replaced=False)


class Totals:
    """Adds up the outcomes of one call."""

    def __init__(self, planning: Planning) -> None:
        """Begin with what the header told."""
        self._tensors = len(planning.plans)
        self._layers: list[RowStatistics] = []
        self._cuts: list[SquaredNorm] = []
        self._wholes: list[SquaredNorm] = []
        self._ruled = False
        self._kept = 0
        self._zeros_after = 0
        self._warnings = [*(_idle(glob) for glob in planning.idle_globs), *cautions(planning)]
        if not planning.compressible:
            self._warnings.append(_nothing(planning))

    def add(self, outcome: Outcome) -> None:
        """Add one tensor, in offset order."""
        if outcome.reason is Reason.NONFINITE:
            self._warnings.append(_nonfinite(outcome.plan))
        if outcome.measured is None:
            return
        self._layers.append(outcome.measured.layer)
        if outcome.proof is None:  # no rule touched it: everything stays
            self._cuts.append(NOTHING_CUT)
            self._wholes.append(whole_norm(outcome.measured.neurons))
            self._kept += outcome.plan.weights
            self._zeros_after += int(outcome.measured.layer.zeros[0])
        else:
            self._ruled = True
            self._cuts.append(outcome.proof.cut_norm)
            self._wholes.append(outcome.proof.whole_norm)
            self._kept += int(outcome.proof.changed.kept.sum())
            self._zeros_after += int(outcome.proof.changed.tails.zeros.sum())

    def summary(self, request: Request) -> pb.Summary:
        """Return the totals as a message."""
        summary = pb.Summary(
            tensors=self._tensors,
            compressible_tensors=len(self._layers),
            warnings=self._warnings[:MOST_WARNINGS],
        )
        if self._layers:
            everything = pool(self._layers)
            summary.weights = everything.fan_in
            summary.zeros_before = int(everything.zeros[0])
            getattr(summary, "global").CopyFrom(indices_of_row(everything, request))
        if self._ruled:
            certificate = certify_pool(self._cuts, self._wholes)
            summary.frobenius, summary.frobenius_ratio = certificate.frobenius, certificate.frobenius_ratio
            summary.kept, summary.zeros_after = self._kept, self._zeros_after
        return summary


def _nothing(planning: Planning) -> pb.Warning:
    """Return the warning that nothing is compressible, which offers a remedy only where there is one."""
    by_name = any(plan.reason is Reason.NAME for plan in planning.plans)
    remedy = ", and `include` to take in what is left alone for its name" if by_name else ""
    text = f"no tensor is compressible; see the plans for the reason of each{remedy}"
    return pb.Warning(code=pb.WARNING_CODE_NOTHING_COMPRESSIBLE, text=text)


def _idle(glob: str) -> pb.Warning:
    text = f"the glob {shorten(repr(glob))} matches no tensor"
    return pb.Warning(code=pb.WARNING_CODE_GLOB_WITHOUT_MATCH, subject=shorten(glob), text=text)


def _nonfinite(plan: Plan) -> pb.Warning:
    text = f"{nonfinite(plan)} and was passed through untouched"
    return pb.Warning(code=pb.WARNING_CODE_NONFINITE_PASSED_THROUGH, subject=shorten(plan.entry.name), text=text)
