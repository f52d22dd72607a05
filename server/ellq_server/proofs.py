"""What is certified about one changed tensor, measured on the very weights that are sent and checked against what is known."""

from dataclasses import dataclass

import numpy as np

from ellq_math.blocks import in_blocks
from ellq_math.bounds import tail_bound
from ellq_math.certificates import NeuronCertificate, certify_neurons, cut_norm, summarise, whole_norm
from ellq_math.network.groups import root_of_squares
from ellq_math.network.quadratic import row_errors
from ellq_math.rules import ErrorBudget, NOfM
from ellq_math.sums import Array, round_down, sum_roundings
from ellq_math.values import Tails
from ellq_server.layout import numbers
from ellq_server.refusals import CertificateRefuted, shorten
from ellq_server.scoped_rules import ScopedRule
from ellq_server.workbench import Bound, Changed, Choice, MeanSquare, Measured, Proof, Workbench


@dataclass(frozen=True)
class NeuronProof:
    """What is certified of neurons, each by itself: those of one tensor, or of several with the same fan-in."""

    neurons: NeuronCertificate
    bounds: tuple[Array, Array] | None
    """Of the l_1 and l_2 tails, (neurons,) each; None where Stechkin's theorem does not apply."""

    def __getitem__(self, neurons: slice) -> "NeuronProof":
        """Return what is certified of some of them."""
        bounds = self.bounds and (self.bounds[0][neurons], self.bounds[1][neurons])
        return NeuronProof(self.neurons[neurons], bounds)


def prove(bench: Workbench, changed: Changed, scoped: ScopedRule) -> Proof:
    """Return what is certified. Errors: CertificateRefuted when two independent findings contradict each other."""
    return prove_tensor(bench, changed, prove_neurons(bench, changed, scoped))


def prove_neurons(bench: Workbench, changed: Changed, scoped: ScopedRule) -> NeuronProof:
    """Return what is certified of each neuron. Errors: CertificateRefuted."""
    neurons = certify_neurons(changed.tails, fan_in=changed.measured.neurons.fan_in)
    if changed.choice is not None and changed.dead is None:
        _recount(changed.measured, changed.tails, changed.choice)
    return NeuronProof(neurons, _bounds(bench, changed, scoped, neurons))


def prove_tensor(bench: Workbench, changed: Changed, proved: NeuronProof) -> Proof:
    """Return what is certified of a tensor, given what is of its neurons."""
    stats, bounds = changed.measured.neurons, proved.bounds
    cut, whole = cut_norm(changed.tails, fan_in=stats.fan_in, replaced=changed.choice is None), whole_norm(stats)
    return Proof(
        changed=changed,
        neurons=proved.neurons,
        layer=summarise(proved.neurons, cut, whole),
        bound=bounds and Bound(tail_l1_max=float(bounds[0].max()), tail_l2_max=float(bounds[1].max())),
        mean_square=_mean_square(bench, changed.measured),
        cut_norm=cut,
        whole_norm=whole,
    )


def _bounds(bench: Workbench, changed: Changed, scoped: ScopedRule, neurons: NeuronCertificate) -> tuple[Array, Array] | None:
    """Return what was proved of the cut before, and hold against it what was measured after.

    None where the cut did not take the smallest of what selection works on, of which alone the theorem speaks: n_of_m keeps
    the largest of groups, LASSO what it likes, and an error budget goes by costs.
    """
    choice, measured, q = changed.choice, changed.measured, bench.request.indices.q
    if choice is None or isinstance(scoped.rule, NOfM | ErrorBudget):
        return None
    by = measured.selected
    bound_l1, bound_l2 = (tail_bound(by.neurons, changed.kept, q=q, p=p) for p in (1.0, 2.0))
    if measured.weighed or changed.dead is None:  # dead neurons took more than was chosen
        if measured.weighed:
            neurons = certify_neurons(bench.kernels.tails(by.handle, choice.cut), fan_in=by.neurons.fan_in)
        _recheck(measured, neurons.tail_l1, bound_l1)
        _recheck(measured, neurons.tail_l2, bound_l2)
    return bound_l1, bound_l2


def _mean_square(bench: Workbench, measured: Measured) -> MeanSquare | None:
    moments, plan = bench.moments_of(measured.plan), measured.plan
    if moments is None or measured.original is None:
        return None
    before = _rows(measured, memoryview(measured.original))
    after = _rows(measured, bench.kernels.payload(measured.weights))
    groups = len(moments.second_moments) // plan.fan_in
    errors = row_errors(after - before, moments, groups=groups)
    return MeanSquare(largest=float(errors.max()), l2=float(root_of_squares(errors)))


def _rows(measured: Measured, payload: memoryview) -> Array:
    return numbers(measured.plan, payload).reshape(measured.plan.neurons, measured.plan.fan_in)


def _recount(measured: Measured, tails: Tails, choice: Choice) -> None:
    """Refuse to send a tensor with more or fewer zeros than the choice explains.

    Errors: CertificateRefuted.
    """
    cut = measured.plan.fan_in - choice.cut.kept.sum(axis=1)
    if np.any(tails.zeros < cut) or np.any(tails.zeros > cut + measured.neurons.zeros):
        name = shorten(repr(measured.plan.entry.name))
        raise CertificateRefuted(f"tensor {name}: the zeros after the cut do not match what was to be cut")


@in_blocks
def _surely(tail: Array, *, roundings: int) -> Array:
    """Return tails without what rounding up added. Shape: (neurons,) -> the same."""
    return round_down(tail, roundings=roundings)


def _recheck(measured: Measured, tail: Array, bound: Array) -> None:
    """Refuse to send a tail, measured after the cut, that lies above its bound, proved before it: one of them is wrong.

    Errors: CertificateRefuted.
    """
    surely = _surely(tail, roundings=4 * sum_roundings(measured.plan.fan_in))
    if np.any(surely > bound):
        neuron = int(np.argmax(surely > bound))
        name = shorten(repr(measured.plan.entry.name))
        raise CertificateRefuted(
            f"tensor {name}, neuron {neuron}: measured tail {tail[neuron]!r} exceeds its bound {bound[neuron]!r}"
        )
