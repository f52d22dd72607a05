"""Checks what was measured of a tensor: its counts and norms, and its indices as a whole and neuron by neuron."""

from ellq_client.values import IndexOrders, Indices, Measurement, NeuronReports, Spread, Weighed
from ellq_client.verifying.claims import Claims
from ellq_client.verifying.matrices import Matrix
from ellq_math import indices
from ellq_math.allocation import GUARD
from ellq_math.pooling import fold
from ellq_math.sums import UNIT_ROUNDOFF, Array, sum_roundings
from ellq_math.values import RowStatistics


def check_measurement(
    claims: Claims, claimed: Measurement, matrix: Matrix, neurons: RowStatistics, orders: IndexOrders, *, ignore_zeros: bool
) -> RowStatistics:
    """Check what was measured on the original; return its statistics as one row. Errors: ClaimRefuted."""
    layer = fold(neurons)
    claims.equal("measurement.neurons", claimed.neurons, matrix.neurons)
    claims.equal("measurement.fan_in", claimed.fan_in, matrix.fan_in)
    claims.equal("measurement.weights", claimed.weights, layer.fan_in)
    claims.equal("measurement.zeros", claimed.zeros, int(layer.zeros[0]))
    claims.equal("measurement.max_magnitude", claimed.max_magnitude, float(layer.max_magnitude[0]))
    rounding = _norm_rounding(matrix)
    claims.close("measurement.l1", claimed.l1, float(indices.l1_norm(layer)[0]), relative=rounding)
    claims.close("measurement.l2", claimed.l2, float(indices.l2_norm(layer)[0]), relative=rounding)
    # the ratio l1/l2 is at most sqrt(d), and sqrt(d) / (sqrt(d) - 1) below 3.5 from d = 2 on
    found = float(indices.hoyer(layer, ignore_zeros=ignore_zeros)[0])
    claims.close("measurement.hoyer", claimed.hoyer, found, absolute=8 * rounding)
    check_indices(claims, "measurement.layer", claimed.layer, layer, orders, ignore_zeros=ignore_zeros)
    _check_spreads(claims, "measurement", claimed, neurons, orders, ignore_zeros=ignore_zeros)
    return layer


def check_weighed(claims: Claims, claimed: Weighed, neurons: RowStatistics, orders: IndexOrders, *, ignore_zeros: bool) -> None:
    """Check the indices of what selection worked on; `neurons` are its statistics. Errors: ClaimRefuted."""
    check_indices(claims, "weighed.layer", claimed.layer, fold(neurons), orders, ignore_zeros=ignore_zeros)
    _check_spreads(claims, "weighed", claimed, neurons, orders, ignore_zeros=ignore_zeros)


def check_neuron_indices(
    claims: Claims, claimed: NeuronReports, neurons: RowStatistics, orders: IndexOrders, *, ignore_zeros: bool
) -> None:
    """Check the indices of every neuron. Errors: ClaimRefuted."""
    sparsity, pq = _neuron_indices(neurons, orders, ignore_zeros=ignore_zeros)
    si_error, pq_error = _index_errors(orders)
    claims.all_close("neurons.sparsity_index", claimed.sparsity_index, sparsity, relative=si_error)
    claims.all_close("neurons.pq_index", claimed.pq_index, pq, absolute=pq_error)


def check_indices(
    claims: Claims, claim: str, claimed: Indices, row: RowStatistics, orders: IndexOrders, *, ignore_zeros: bool
) -> None:
    """Check the indices of one row. Errors: ClaimRefuted."""
    si_error, pq_error = _index_errors(orders)
    sparsity = float(indices.sparsity_index(row, q=orders.q, ignore_zeros=ignore_zeros)[0])
    pq = float(indices.pq_index(row, p=orders.pq_p, q=orders.pq_q, ignore_zeros=ignore_zeros)[0])
    claims.close(f"{claim}.sparsity_index", claimed.sparsity_index, sparsity, relative=si_error)
    claims.close(f"{claim}.pq_index", claimed.pq_index, pq, absolute=pq_error)


def _index_errors(orders: IndexOrders) -> tuple[float, float]:
    """Return how far two evaluations of SI_q can be apart, relatively, and of PQI, absolutely.

    The log of an effective count is good to GUARD upper / (upper - lower) (see allocation.py). SI_q scales it by 1/q - 1 with
    upper = 1, lower = q, which leaves GUARD / q; PQI by 1/p - 1/q, which leaves GUARD / p. Twice, because both are rounded,
    and twice again for the exp and its higher-order terms.
    """
    return 4 * GUARD / orders.q, 4 * GUARD / orders.pq_p


def _norm_rounding(matrix: Matrix) -> float:
    """Return how far two evaluations of a norm of the tensor can be apart, relatively: all roundings of both."""
    return 2 * (sum_roundings(matrix.fan_in) + sum_roundings(matrix.neurons) + 8) * UNIT_ROUNDOFF


def _check_spreads(
    claims: Claims,
    where: str,
    claimed: Measurement | Weighed,
    neurons: RowStatistics,
    orders: IndexOrders,
    *,
    ignore_zeros: bool,
) -> None:
    sparsity, pq = _neuron_indices(neurons, orders, ignore_zeros=ignore_zeros)
    si_error, pq_error = _index_errors(orders)
    mean_error = len(sparsity) * UNIT_ROUNDOFF
    spreads = claimed.neuron_sparsity_index, claimed.neuron_pq_index
    _check_spread(claims, f"{where}.neuron_sparsity_index", spreads[0], sparsity, relative=si_error + mean_error)
    _check_spread(claims, f"{where}.neuron_pq_index", spreads[1], pq, absolute=pq_error + mean_error)


def _check_spread(
    claims: Claims, claim: str, claimed: Spread, found: Array, *, relative: float = 0.0, absolute: float = 0.0
) -> None:
    for name in ("min", "mean", "max"):
        one, other = getattr(claimed, name), float(getattr(found, name)())
        claims.close(f"{claim}.{name}", one, other, relative=relative, absolute=absolute)


def _neuron_indices(neurons: RowStatistics, orders: IndexOrders, *, ignore_zeros: bool) -> tuple[Array, Array]:
    return (
        indices.sparsity_index(neurons, q=orders.q, ignore_zeros=ignore_zeros),
        indices.pq_index(neurons, p=orders.pq_p, q=orders.pq_q, ignore_zeros=ignore_zeros),
    )
