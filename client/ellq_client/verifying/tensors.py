"""Checks one compressible tensor against its report."""

from dataclasses import dataclass

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.errors import ClaimRefuted
from ellq_client.values import IndexOrders, Indices, Measurement, NeuronReports, Spread, TensorReport, Weighed
from ellq_client.verifying.choices import Chooser
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.cuts import Findings, compare_cut, measure_change
from ellq_client.verifying.matrices import Matrix
from ellq_math import indices
from ellq_math.allocation import GUARD, allocate
from ellq_math.bounds import tail_bound
from ellq_math.certificates import SquaredNorm, certify_layer, certify_neurons, cut_norm, whole_norm
from ellq_math.network.dead_neurons import Flags
from ellq_math.pooling import fold
from ellq_math.rules import ErrorBudget, Lasso, NOfM, Rule, Tail
from ellq_math.sums import UNIT_ROUNDOFF, Array, sum_roundings
from ellq_math.values import Counts, RowStatistics, Tails


@dataclass(frozen=True)
class Ruled:
    """What a rule must do to one tensor."""

    rule: Rule
    scope: str
    choose: Chooser | None
    """None where the choice cannot be made again: by LASSO, or without the moments or the network it went by."""
    by: Matrix | None = None
    """What the choice goes by, where that is not what other rules go by: costs."""
    removes_dead: bool = False
    dead: Flags | None = None
    """(neurons,): rows that are cut whole. None: nothing of the kind."""
    dead_known: bool = False
    """Whether `dead` was found in the network; else it is all rows without a weight."""


@dataclass(frozen=True)
class CutTensor:
    """What was found in a tensor after its cut, for the totals of the file."""

    kept: int
    zeros: int
    cut_norm: SquaredNorm
    whole_norm: SquaredNorm


@dataclass(frozen=True)
class TensorCheck:
    """Everything that is needed to check one compressible tensor."""

    report: TensorReport
    matrix: Matrix
    neurons: RowStatistics
    by: Matrix
    """What selection works on: the matrix itself, or its weights times the size of their inputs."""
    by_neurons: RowStatistics
    orders: IndexOrders
    ignore_zeros: bool

    @property
    def claims(self) -> Claims:
        """The claims about this tensor."""
        return Claims(self.report.name)

    def check_measurement(self) -> RowStatistics:
        """Check what was measured on the original; return its statistics as one row. Errors: ClaimRefuted."""
        claims, claimed, layer = self.claims, self.report.measurement, fold(self.neurons)
        assert claimed is not None
        claims.equal("measurement.neurons", claimed.neurons, self.matrix.neurons)
        claims.equal("measurement.fan_in", claimed.fan_in, self.matrix.fan_in)
        claims.equal("measurement.weights", claimed.weights, layer.fan_in)
        claims.equal("measurement.zeros", claimed.zeros, int(layer.zeros[0]))
        claims.equal("measurement.max_magnitude", claimed.max_magnitude, float(layer.max_magnitude[0]))
        rounding = norm_rounding(self.matrix)
        claims.close("measurement.l1", claimed.l1, float(indices.l1_norm(layer)[0]), relative=rounding)
        claims.close("measurement.l2", claimed.l2, float(indices.l2_norm(layer)[0]), relative=rounding)
        # the ratio l1/l2 is at most sqrt(d), and sqrt(d) / (sqrt(d) - 1) below 3.5 from d = 2 on
        found = float(indices.hoyer(layer, ignore_zeros=self.ignore_zeros)[0])
        claims.close("measurement.hoyer", claimed.hoyer, found, absolute=8 * rounding)
        check_indices(claims, "measurement.layer", claimed.layer, layer, self.orders, ignore_zeros=self.ignore_zeros)
        self._check_spreads("measurement", claimed, self.neurons)
        return layer

    def check_weighed(self) -> None:
        """Check the indices of what selection worked on, where that is not the weights. Errors: ClaimRefuted."""
        claims, claimed = self.claims, self.report.weighed
        if claimed is None:
            return
        layer = fold(self.by_neurons)
        check_indices(claims, "weighed.layer", claimed.layer, layer, self.orders, ignore_zeros=self.ignore_zeros)
        self._check_spreads("weighed", claimed, self.by_neurons)

    def check_cut(self, original: Checkpoint, compressed: Checkpoint, ruled: Ruled) -> CutTensor:
        """Check that the compressed tensor is exactly the rule's choice, and what that costs. Errors: ClaimRefuted."""
        if ruled.choose is None:
            found = measure_change(self.matrix, original, compressed)
        else:
            found = compare_cut(self.matrix, ruled.by or self.by, original, compressed, ruled.choose, ruled.dead)
        self._check_allocation(ruled, found)
        replaced = isinstance(ruled.rule, Lasso)
        self._check_certificate(found.tails, replaced=replaced)
        self._check_bound(ruled, found.kept)
        self._check_neurons(ruled, found)
        kept = self.report.allocation.kept if found.kept is None and self.report.allocation else 0
        return CutTensor(
            kept=kept if found.kept is None else int(found.kept.sum()),
            zeros=int(found.tails.zeros.sum()),
            cut_norm=cut_norm(found.tails, fan_in=self.matrix.fan_in, replaced=replaced),
            whole_norm=whole_norm(self.neurons),
        )

    def _check_allocation(self, ruled: Ruled, found: Findings) -> None:
        claims, claimed = self.claims, self.report.allocation
        if claimed is None:
            raise ClaimRefuted("allocation", claimed="absent", found="a rule applies", tensor=self.report.name)
        zeros = int(found.tails.zeros.sum())
        claims.equal("allocation.zeros", claimed.zeros, zeros)
        self._check_dead(ruled, found)
        if isinstance(ruled.rule, Lasso):
            claims.equal("allocation.kept", claimed.kept, self.matrix.weights - zeros + (claimed.dead_weights or 0))
        if found.kept is None and not isinstance(ruled.rule, Lasso):
            return
        if found.kept is not None:
            claims.equal("allocation.kept", claimed.kept, int(found.kept.sum()))
        own = ruled.scope != "global"
        within = int(found.kept.sum()) if own and isinstance(ruled.rule, Tail) and found.kept is not None else None
        claims.equal("allocation.kept_within", claimed.kept_within, within)
        floor = None
        if own and not isinstance(ruled.rule, Tail | Lasso | ErrorBudget):
            population = self.by_neurons if ruled.scope == "neuron" else fold(self.by_neurons)
            floors = allocate(ruled.rule, population, ignore_zeros=self.ignore_zeros).kept_floor
            floor = None if floors is None else int(floors.sum())
        claims.equal("allocation.kept_floor", claimed.kept_floor, floor)

    def _check_dead(self, ruled: Ruled, found: Findings) -> None:
        """Check how many neurons were removed; which ones they are was compared weight by weight."""
        claims, claimed = self.claims, self.report.allocation
        assert claimed is not None
        asked = ruled.removes_dead
        claims.equal("allocation.dead_neurons", claimed.dead_neurons is not None, asked)
        claims.equal("allocation.dead_weights", claimed.dead_weights is not None, asked)
        if asked and found.kept is not None:
            claims.equal("allocation.dead_weights", claimed.dead_weights, found.dead_weights)
        if asked and ruled.dead_known:
            gone = 0 if ruled.dead is None else int(ruled.dead.sum())
            claims.equal("allocation.dead_neurons", claimed.dead_neurons, gone)

    def _check_certificate(self, tails: Tails, *, replaced: bool) -> None:
        claims, claimed = self.claims, self.report.certificate
        if claimed is None:
            raise ClaimRefuted("certificate", claimed="absent", found="a rule applies", tensor=self.report.name)
        found = certify_layer(tails, self.neurons, replaced=replaced)
        claims.covers("certificate.tail_l1_max", claimed.tail_l1_max, found.tail_l1_max)
        claims.covers("certificate.tail_l2_max", claimed.tail_l2_max, found.tail_l2_max)
        claims.covers("certificate.frobenius", claimed.frobenius, found.frobenius)
        claims.covers("certificate.frobenius_ratio", claimed.frobenius_ratio, found.frobenius_ratio)

    def _check_bound(self, ruled: Ruled, kept: Counts | None) -> None:
        claims, claimed = self.claims, self.report.bound
        absent = isinstance(ruled.rule, NOfM | Lasso | ErrorBudget)
        claims.equal("bound", "absent" if claimed is None else "given", "absent" if absent else "given")
        if claimed is None or kept is None:
            return
        l1 = tail_bound(self.by_neurons, kept, q=self.orders.q, p=1.0)
        l2 = tail_bound(self.by_neurons, kept, q=self.orders.q, p=2.0)
        claims.about("bound.tail_l1_max", claimed.tail_l1_max, float(l1.max()))
        claims.about("bound.tail_l2_max", claimed.tail_l2_max, float(l2.max()))

    def _check_neurons(self, ruled: Ruled, found: Findings) -> None:
        claims, claimed = self.claims, self.report.neurons
        if claimed is None:
            return
        self._check_neuron_indices(claimed)
        if found.kept is not None:
            claims.equal("neurons.kept", list(claimed.kept), found.kept.tolist())
        elif isinstance(ruled.rule, Lasso):
            self._check_refitted(claimed, found, ruled.dead)
        certified = certify_neurons(found.tails, fan_in=self.matrix.fan_in)
        claims.all_cover("neurons.tail_l1", claimed.tail_l1, certified.tail_l1)
        claims.all_cover("neurons.tail_l2", claimed.tail_l2, certified.tail_l2)

    def _check_refitted(self, claimed: NeuronReports, found: Findings, dead: Flags | None) -> None:
        """Check how many weights LASSO left each neuron; what dead ones had before they were cleared is known in all alone."""
        claims, allocation = self.claims, self.report.allocation
        claims.equal("neurons.kept (number of entries)", len(claimed.kept), self.matrix.neurons)
        left = self.matrix.fan_in - found.tails.zeros
        if dead is not None:
            left = np.where(dead, claimed.kept, left)
        claims.equal("neurons.kept", list(claimed.kept), left.tolist())
        claims.equal("neurons.kept (sum)", sum(claimed.kept), allocation.kept if allocation else None)

    def _check_neuron_indices(self, claimed: NeuronReports) -> None:
        sparsity, pq = self._neuron_indices(self.neurons)
        si_error, pq_error = index_errors(self.orders)
        self.claims.all_close("neurons.sparsity_index", claimed.sparsity_index, sparsity, relative=si_error)
        self.claims.all_close("neurons.pq_index", claimed.pq_index, pq, absolute=pq_error)

    def _check_spreads(self, where: str, claimed: Measurement | Weighed, neurons: RowStatistics) -> None:
        sparsity, pq = self._neuron_indices(neurons)
        si_error, pq_error = index_errors(self.orders)
        mean_error = len(sparsity) * UNIT_ROUNDOFF
        spreads = claimed.neuron_sparsity_index, claimed.neuron_pq_index
        self._check_spread(f"{where}.neuron_sparsity_index", spreads[0], sparsity, relative=si_error + mean_error)
        self._check_spread(f"{where}.neuron_pq_index", spreads[1], pq, absolute=pq_error + mean_error)

    def _neuron_indices(self, neurons: RowStatistics) -> tuple[Array, Array]:
        orders, ignore_zeros = self.orders, self.ignore_zeros
        return (
            indices.sparsity_index(neurons, q=orders.q, ignore_zeros=ignore_zeros),
            indices.pq_index(neurons, p=orders.pq_p, q=orders.pq_q, ignore_zeros=ignore_zeros),
        )

    def _check_spread(self, claim: str, claimed: Spread, found: Array, *, relative: float = 0.0, absolute: float = 0.0) -> None:
        for name in ("min", "mean", "max"):
            one, other = getattr(claimed, name), float(getattr(found, name)())
            self.claims.close(f"{claim}.{name}", one, other, relative=relative, absolute=absolute)


def check_indices(
    claims: Claims, claim: str, claimed: Indices, row: RowStatistics, orders: IndexOrders, *, ignore_zeros: bool
) -> None:
    """Check the indices of one row. Errors: ClaimRefuted."""
    si_error, pq_error = index_errors(orders)
    sparsity = float(indices.sparsity_index(row, q=orders.q, ignore_zeros=ignore_zeros)[0])
    pq = float(indices.pq_index(row, p=orders.pq_p, q=orders.pq_q, ignore_zeros=ignore_zeros)[0])
    claims.close(f"{claim}.sparsity_index", claimed.sparsity_index, sparsity, relative=si_error)
    claims.close(f"{claim}.pq_index", claimed.pq_index, pq, absolute=pq_error)


def index_errors(orders: IndexOrders) -> tuple[float, float]:
    """Return how far two evaluations of SI_q can be apart, relatively, and of PQI, absolutely.

    The log of an effective count is good to GUARD upper / (upper - lower) (see allocation.py). SI_q scales it by 1/q - 1 with
    upper = 1, lower = q, which leaves GUARD / q; PQI by 1/p - 1/q, which leaves GUARD / p. Twice, because both are rounded,
    and twice again for the exp and its higher-order terms.
    """
    return 4 * GUARD / orders.q, 4 * GUARD / orders.pq_p


def norm_rounding(matrix: Matrix) -> float:
    """Return how far two evaluations of a norm of the tensor can be apart, relatively: all roundings of both."""
    return 2 * (sum_roundings(matrix.fan_in) + sum_roundings(matrix.neurons) + 8) * UNIT_ROUNDOFF
