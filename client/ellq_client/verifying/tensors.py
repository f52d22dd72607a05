"""Checks one compressible tensor against its report."""

from dataclasses import dataclass

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.errors import ClaimRefuted
from ellq_client.values import IndexOrders, NeuronReports, TensorReport
from ellq_client.verifying.choices import Chooser
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.cuts import Findings, compare_cut, measure_change
from ellq_client.verifying.matrices import Matrix
from ellq_client.verifying.measurements import check_measurement, check_neuron_indices, check_weighed
from ellq_math.allocation import allocate
from ellq_math.bounds import tail_bound
from ellq_math.certificates import SquaredNorm, certify_layer, certify_neurons, cut_norm, whole_norm
from ellq_math.network.dead_neurons import Flags
from ellq_math.pooling import fold
from ellq_math.rules import ErrorBudget, Lasso, NOfM, Rule, Tail
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
        claimed = self.report.measurement
        assert claimed is not None
        return check_measurement(self.claims, claimed, self.matrix, self.neurons, self.orders, ignore_zeros=self.ignore_zeros)

    def check_weighed(self) -> None:
        """Check the indices of what selection worked on, where that is not the weights. Errors: ClaimRefuted."""
        claimed = self.report.weighed
        if claimed is not None:
            check_weighed(self.claims, claimed, self.by_neurons, self.orders, ignore_zeros=self.ignore_zeros)

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
        check_neuron_indices(claims, claimed, self.neurons, self.orders, ignore_zeros=self.ignore_zeros)
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
