"""Holds a report against the two files that it speaks of."""

from collections.abc import Mapping
from dataclasses import replace

from ellq.v1.meanings import read_meanings
from ellq_client.certificates import NetworkCertificate
from ellq_client.errors import ClaimRefuted, ReportError
from ellq_client.headers import StoredTensor
from ellq_client.report import Report
from ellq_client.results import header_digest
from ellq_client.values import TensorReport
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.cuts import change_of
from ellq_client.verifying.enclosed import Enclosed
from ellq_client.verifying.expectations import Expectation, expect_indices, expect_tensor, math_rule
from ellq_client.verifying.factors import read_factor
from ellq_client.verifying.matrices import Matrix
from ellq_client.verifying.mean_squares import check_lasso, check_mean_squares, check_no_mean_squares
from ellq_client.verifying.promises import check_budget, check_promises
from ellq_client.verifying.ruling import Choices
from ellq_client.verifying.tensors import CutTensor, Ruled, TensorCheck
from ellq_client.verifying.totals import check_summary
from ellq_client.verifying.warned import check_warnings
from ellq_client.verifying.weighing import weighed_by_inputs
from ellq_client.verifying.zeros import compare_zeros
from ellq_math.network.certify import certify, grades_of
from ellq_math.network.knowledge import InvalidInputs, InvalidMoments, Moments
from ellq_math.rules import IndexOrders as MathOrders
from ellq_math.rules import Lasso, orders_for

OTHER_FILES = "this report is not of these files"

_DIMENSIONS_OF_A_LINEAR = 2


class ReportCheck:
    """Holds one report against the two files and whatever was sent along with the request."""

    def __init__(self, report: Report, enclosed: Enclosed) -> None:
        if report.method != "compress" or report.request.rule is None:
            raise ReportError(f"the report is of {report.method!r}; only one of a compression can be verified")
        self._report = report
        self._request = report.request
        self._request_rule = report.request.rule
        self._enclosed = enclosed
        self._before, self._after = enclosed.tensors.before, enclosed.tensors.after
        self._meanings = read_meanings(self._before.tensors)
        self._expected = [self._expect(tensor) for tensor in self._before.tensors]
        self._orders = self._power_orders()

    def check(self) -> None:
        """Recompute every claim. Errors: ClaimRefuted."""
        report, claims = self._report, Claims(likely=OTHER_FILES)
        claims.equal("source.size_bytes", report.source.size_bytes, self._before.size_bytes)
        claims.equal("source.header_sha256", report.source.header_sha256, header_digest(self._before.header))
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
        if reason is None and not self._matrix(stored, expected.neuron_axis).is_finite(self._before):
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
        pairs = self._compressible()
        matrices = {stored.name: self._matrix(stored, told.neuron_axis) for told, stored in pairs}
        moments = self._moments()
        checks = [self._measured(told, matrices[stored.name], moments.get(stored.name)) for told, stored in pairs]
        layers = [check.check_measurement() for check in checks]
        for check in () if self._enclosed.lacks_moments else checks:
            check.check_weighed()
        choices = Choices(self._request, self._enclosed, checks, moments)
        cuts: list[CutTensor] = []
        for check in checks:
            ruled = choices.ruled(check, self._after)
            cuts.append(check.check_cut(self._before, self._after, ruled))
            self._check_mean_squares(check, ruled, moments.get(check.report.name))
        check_summary(self._report, layers, cuts)
        check_warnings(self._report, self._meanings)
        self._check_network(moments, choices.cost)

    def _moments(self) -> dict[str, Moments]:
        """Return the moments by tensor; those of tensors that pass through serve the certificate of the network."""
        fan_ins: dict[str, int] = {}
        for told, stored in zip(self._report.tensors, self._before.tensors, strict=True):
            axis = told.neuron_axis or self._enclosed.axes.get(stored.name, (0,))
            if len(stored.shape) > len(axis) and stored.length_bytes:
                fan_ins[stored.name] = Matrix(stored, axis).fan_in
        return self._enclosed.moments(fan_ins)

    def _check_mean_squares(self, check: TensorCheck, ruled: Ruled, moments: Moments | None) -> None:
        certificate, name = check.report.certificate, check.report.name
        if self._enclosed.lacks_moments or certificate is None:
            return
        if moments is None:
            check_no_mean_squares(name, certificate)
            return
        before, change = change_of(check.matrix, self._before, self._after)
        check_mean_squares(name, certificate, change, moments)
        if isinstance(ruled.rule, Lasso):
            check_lasso(name, before, change, moments, epsilon=ruled.rule.epsilon, dead=ruled.dead)

    def _check_network(self, moments: Mapping[str, Moments], cost: float | None) -> None:
        """Check the certificate of the network, as far as what it rests on was handed in."""
        claimed, enclosed = self._report.summary.network, self._enclosed
        if claimed is None:
            raise ClaimRefuted("summary.network", claimed="absent", found="a compression")
        if enclosed.lacks_network:
            Claims().equal("summary.network.absence", claimed.absence == "no_topology", False)
        if enclosed.lacks_network or (enclosed.graph is not None and enclosed.lacks_moments):
            return
        absent = self._expected_absence(claimed, moments)
        if absent is not None or enclosed.graph is None:
            Claims().equal("summary.network", replace(claimed, budget=None), NetworkCertificate(absent))
            check_budget(claimed, self._request_rule, cost=cost)
            return
        knowledge, tensors = enclosed.knowledge(moments), enclosed.tensors
        try:
            found = certify(enclosed.graph, tensors, knowledge, nonfinite=tensors.nonfinite(enclosed.graph.tensors))
        except (InvalidInputs, InvalidMoments) as error:
            raise ReportError(f"this network or these moments are not of these files: {error}") from error
        samples = 0 if knowledge.margins is None else len(knowledge.margins)
        check_promises(claimed, found, enclosed.graph, self._request_rule, cost=cost, samples=samples)

    def _expected_absence(self, claimed: NetworkCertificate, moments: Mapping[str, Moments]) -> str | None:
        """Return why there must be no certificate. How much a server holds at once, two files cannot tell."""
        if self._enclosed.graph is None:
            return "no_topology"
        if claimed.absence == "too_large":
            return claimed.absence
        return None if grades_of(self._enclosed.knowledge(moments)) else "no_inputs"

    def _compressible(self) -> list[tuple[TensorReport, StoredTensor]]:
        pairs = zip(self._report.tensors, self._before.tensors, strict=True)
        return [(told, stored) for told, stored in pairs if told.treatment == "compress"]

    def _expect(self, tensor: StoredTensor) -> Expectation:
        """Return what must happen to a tensor; which axis a network transposes, only the network tells."""
        told = next((told.neuron_axis for told in self._report.tensors if told.name == tensor.name), ())
        unknown = self._enclosed.lacks_network and len(tensor.shape) == _DIMENSIONS_OF_A_LINEAR and told == (1,)
        axis = (1,) if unknown else self._enclosed.axes.get(tensor.name, (0,))
        return expect_tensor(tensor, self._request, axis, meant=self._meanings.reason(tensor.name))

    def _matrix(self, tensor: StoredTensor, axis: tuple[int, ...]) -> Matrix:
        """Return a tensor as rows of neurons, with its scale if it has one."""
        return Matrix(tensor, axis, factor=read_factor(self._before, self._meanings.scale_of(tensor.name)))

    def _measured(self, told: TensorReport, matrix: Matrix, moments: Moments | None) -> TensorCheck:
        weighs = moments is not None and not self._request.magnitudes_only
        if not self._enclosed.lacks_moments:
            Claims(told.name).equal("weighed", told.weighed is not None, weighs)
        by = weighed_by_inputs(matrix, moments) if moments is not None and weighs else matrix
        neurons = matrix.measure(self._before, self._orders)
        return TensorCheck(
            report=told,
            matrix=matrix,
            neurons=neurons,
            by=by,
            by_neurons=neurons if by is matrix else by.measure(self._before, self._orders),
            orders=self._report.indices,
            ignore_zeros=self._request.ignore_zeros,
        )

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
