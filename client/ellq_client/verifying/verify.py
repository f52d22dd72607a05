"""Checks a compressed file against its original and, if there is one, against the report of how it was made."""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from ellq_client.checkpoint import Checkpoint, StoredTensor
from ellq_client.errors import ClaimRefuted, ReportError
from ellq_client.report import Report, read_report
from ellq_client.values import TensorReport
from ellq_client.verifying.choices import Chooser, choose_at, choose_by_neuron, find_threshold
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.expectations import Expectation, expect_indices, expect_tensor, math_rule
from ellq_client.verifying.matrices import Matrix
from ellq_client.verifying.tensors import CutTensor, Ruled, TensorCheck
from ellq_client.verifying.totals import check_summary
from ellq_client.verifying.zeros import compare_zeros
from ellq_math.pooling import pool
from ellq_math.rules import IndexOrders as MathOrders
from ellq_math.rules import orders_for
from ellq_math.values import RowStatistics

OTHER_FILES = "this report is not of these files"

AnyPath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True)
class Verification:
    """What was checked, and held."""

    tensors: int
    changed_tensors: int
    """Tensors that are not byte for byte those of the original."""
    weights_cut: int
    """Non-zero weights of the original that are zero now."""
    report_checked: bool
    """Whether every claim of a report was recomputed, too."""

    def told(self) -> str:
        """Return what was checked, for a person."""
        lines = [
            f"holds: {self.tensors} tensors, same header, same length",
            f"holds: {self.changed_tensors} tensors differ, only by zeros in place of {self.weights_cut} weights",
        ]
        if self.report_checked:
            lines.append("holds: every claim of the report, recomputed from the two files")
        else:
            lines.append("no report given: nothing is said about indices, kept counts and certificates")
        return "\n".join(lines)


def verify(original: AnyPath, compressed: AnyPath, report: AnyPath | None = None) -> Verification:
    """Check the compressed file; with a report, recompute every claim in it from the two files.

    Memory: a block of rows, or one tensor whose neurons are not its leading axes. Errors: ClaimRefuted at the first false
    claim; SourceError, ReportError for files that cannot be read.
    """
    with Checkpoint(Path(original)) as before, Checkpoint(Path(compressed)) as after:
        _check_headers(before, after)
        changes = [compare_zeros(tensor, before, after) for tensor in before.tensors]
        if report is not None:
            _ReportCheck(read_report(Path(report)), before, after).check()
    return Verification(
        tensors=len(changes),
        changed_tensors=sum(change > 0 for change in changes),
        weights_cut=sum(changes),
        report_checked=report is not None,
    )


def _check_headers(before: Checkpoint, after: Checkpoint) -> None:
    claims = Claims()
    claims.equal("length in bytes", after.size_bytes, before.size_bytes)
    if after.header != before.header:
        raise ClaimRefuted("header", claimed="that of the original, byte for byte", found="another one")


class _ReportCheck:
    """Holds one report against the two files."""

    def __init__(self, report: Report, before: Checkpoint, after: Checkpoint) -> None:
        if report.method != "compress" or report.request.rule is None:
            raise ReportError(f"the report is of {report.method!r}; only one of a compression can be verified")
        self._report = report
        self._request = report.request
        self._request_rule = report.request.rule
        self._before = before
        self._after = after
        self._expected = [expect_tensor(tensor, report.request) for tensor in before.tensors]
        self._orders = self._power_orders()

    def check(self) -> None:
        """Recompute every claim. Errors: ClaimRefuted."""
        report, claims = self._report, Claims(likely=OTHER_FILES)
        claims.equal("source.size_bytes", report.source.size_bytes, self._before.size_bytes)
        claims.equal("source.header_sha256", report.source.header_sha256, sha256(self._before.header).hexdigest())
        if report.output is not None:
            claims.equal("output.size_bytes", report.output.size_bytes, self._after.size_bytes)
        claims = Claims()
        claims.equal("indices", report.indices, expect_indices(self._request))
        claims.equal("number of tensors", len(report.tensors), len(self._before.tensors))
        for place, (told, stored) in enumerate(zip(report.tensors, self._before.tensors, strict=True)):
            self._check_identity(told, stored, place)
        self._check_digests()
        for told, stored, expected in zip(report.tensors, self._before.tensors, self._expected, strict=True):
            self._check_treatment(told, stored, expected)
        self._check_compressible()

    def _check_identity(self, told: TensorReport, stored: StoredTensor, place: int) -> None:
        claims = Claims(stored.name)
        claims.equal("tensor", told.tensor, place)
        claims.equal("name", told.name, stored.name)
        claims.equal("dtype", told.dtype, stored.dtype)
        claims.equal("shape", told.shape, stored.shape)
        if told.payload is None:
            raise ClaimRefuted("payload", claimed="absent", found="a compression", tensor=stored.name)
        claims.equal("payload.encoding", told.payload.encoding, "dense")
        claims.equal("payload.length_bytes", told.payload.length_bytes, stored.length_bytes)

    def _check_digests(self) -> None:
        """Check what came back byte by byte; when most of it differs, another file was handed in."""
        claimed = {told.name: told.payload.sha256 for told in self._report.tensors if told.payload is not None}
        found = {stored.name: self._after.digest(stored.begin, stored.end) for stored in self._before.tensors}
        wrong = [name for name in found if claimed[name] != found[name]]
        for name in wrong[:1]:
            likely = OTHER_FILES if 2 * len(wrong) > len(self._compressible()) > 1 else None  # others come back as they were
            Claims(name, likely).equal("payload.sha256", claimed[name], found[name])

    def _check_treatment(self, told: TensorReport, stored: StoredTensor, expected: Expectation) -> None:
        claims = Claims(stored.name)
        reason = expected.reason
        if reason is None and not Matrix(stored, expected.neuron_axis).is_finite(self._before):
            reason = "nonfinite" if self._request.nonfinite == "pass_through" else "a refusal of the whole file"
        claims.equal("reason", told.reason, reason)
        claims.equal("treatment", told.treatment, "compress" if reason is None else "pass_through")
        claims.equal("neuron_axis", told.neuron_axis, expected.neuron_axis if reason is None else ())
        claims.equal("rule", told.rule, expected.rule if reason is None else None)
        claims.equal("measurement", told.measurement is not None, reason is None)
        claims.equal("neurons", told.neurons is not None, reason is None and self._request.neurons)
        if reason is not None:
            claims.equal("allocation", told.allocation, None)
            claims.equal("bound", told.bound, None)
            claims.equal("certificate", told.certificate, None)
            if compare_zeros(stored, self._before, self._after):
                raise ClaimRefuted("treatment", claimed="passes through untouched", found="changed", tensor=stored.name)

    def _check_compressible(self) -> None:
        checks = [self._measured(told, stored) for told, stored in self._compressible()]
        layers = [check.check_measurement() for check in checks]
        threshold = self._pooled_choice(checks, layers)
        cuts: list[CutTensor] = []
        for check, layer in zip(checks, layers, strict=True):
            cuts.append(check.check_cut(self._before, self._after, self._ruled(check, layer, threshold)))
        check_summary(self._report, layers, cuts)

    def _compressible(self) -> list[tuple[TensorReport, StoredTensor]]:
        pairs = zip(self._report.tensors, self._before.tensors, strict=True)
        return [(told, stored) for told, stored in pairs if told.treatment == "compress"]

    def _measured(self, told: TensorReport, stored: StoredTensor) -> TensorCheck:
        matrix = Matrix(stored, told.neuron_axis)
        return TensorCheck(
            report=told,
            matrix=matrix,
            neurons=matrix.measure(self._before, self._orders),
            orders=self._report.indices,
            ignore_zeros=self._request.ignore_zeros,
        )

    def _pooled_choice(self, checks: list[TensorCheck], layers: list[RowStatistics]) -> Chooser | None:
        """Return the choice of a request's rule of global scope; None when it has another scope or nothing to choose."""
        pooled = [place for place, check in enumerate(checks) if check.report.rule is None]
        if self._request_rule.scope != "global" or not pooled:
            return None
        rule = math_rule(self._request_rule)
        matrices = [checks[place].matrix for place in pooled]
        stats = pool([layers[place] for place in pooled])
        return choose_at(find_threshold(rule, matrices, stats, self._before, ignore_zeros=self._request.ignore_zeros))

    def _ruled(self, check: TensorCheck, layer: RowStatistics, pooled: Chooser | None) -> Ruled:
        told = check.report.rule or self._request_rule
        rule, ignore_zeros = math_rule(told), self._request.ignore_zeros
        if told.scope == "neuron":
            return Ruled(rule, told.scope, choose_by_neuron(rule, check.matrix, check.neurons, ignore_zeros=ignore_zeros))
        if told.scope == "layer":
            threshold = find_threshold(rule, [check.matrix], layer, self._before, ignore_zeros=ignore_zeros)
            return Ruled(rule, told.scope, choose_at(threshold))
        if told.scope == "global" and pooled is not None and check.report.rule is None:
            return Ruled(rule, told.scope, pooled)
        raise ReportError(f"report: no server takes a rule of scope {told.scope!r} for tensor {check.report.name!r}")

    def _power_orders(self) -> tuple[float, ...]:
        """Return the orders of all power sums that the indices and rules of the report need."""
        claimed = self._report.indices
        try:
            needed = set(MathOrders(q=claimed.q, pq_p=claimed.pq_p, pq_q=claimed.pq_q).orders)
        except ValueError as error:
            raise ReportError(f"report.indices: {error}") from error
        for rule in (self._request_rule, *(override.rule for override in self._request.overrides)):
            if rule is not None:
                needed |= set(orders_for(math_rule(rule)))
        return tuple(sorted(needed))
