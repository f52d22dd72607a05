"""Checks what is said of a tensor under moments: how far its neurons' sums move as a root mean square."""

import math

import numpy as np

from ellq_client.errors import ClaimRefuted
from ellq_client.values import Certificate
from ellq_client.verifying.claims import LOOSENESS, Claims
from ellq_math.network.dead_neurons import Flags
from ellq_math.network.knowledge import Moments
from ellq_math.network.quadratic import input_roots, row_errors
from ellq_math.sums import UNIT_ROUNDOFF, Array


@np.errstate(over="ignore", invalid="ignore")  # what is beyond a double is infinite on both sides
def check_mean_squares(name: str, claimed: Certificate, change: Array, moments: Moments) -> None:
    """Check the mean squares of a certificate. Shape of change: (neurons, fan_in). Errors: ClaimRefuted."""
    errors, doubts = errors_of(change, moments)
    exponent = int(np.frexp(errors.max())[1])  # so that squares neither overflow nor vanish
    squares, slack = (np.ldexp(one, -exponent) ** 2 for one in (errors, doubts))
    for claim, told, square, doubt in (
        ("mean_square_max", claimed.mean_square_max, squares.max(), slack.max()),
        ("mean_square_l2", claimed.mean_square_l2, squares.sum(), slack.sum()),
    ):
        if not np.isfinite(square + doubt):
            holds = told == math.inf
        else:
            scaled = math.nan if told is None else float(np.ldexp(told, -exponent))
            holds = abs(scaled * scaled - square) <= doubt + 2 * LOOSENESS * square
        if not holds:
            found = repr(float(np.ldexp(np.sqrt(square), exponent)))
            raise ClaimRefuted(f"certificate.{claim}", claimed=repr(told), found=found, tensor=name)


def check_no_mean_squares(name: str, claimed: Certificate) -> None:
    """Check that nothing is said of the mean squares of a tensor without moments. Errors: ClaimRefuted."""
    Claims(name).equal("certificate.mean_square_max", claimed.mean_square_max, None)
    Claims(name).equal("certificate.mean_square_l2", claimed.mean_square_l2, None)


@np.errstate(over="ignore", invalid="ignore")  # what overflows is refuted
def check_lasso(name: str, before: Array, change: Array, moments: Moments, *, epsilon: float, dead: Flags | None) -> None:
    """Check that no neuron lost more than epsilon of its root mean square, as LASSO promises, unless it was removed as dead.

    Errors: ClaimRefuted.
    """
    exponent = _exponent(before, moments)
    rows = (np.ldexp(one, -exponent) for one in (change, before))
    (lost, lost_slack), (whole, whole_slack) = (np.square(errors_of(one, moments)) for one in rows)
    surely = ~(lost - lost_slack <= epsilon * epsilon * (whole + whole_slack) * (1 + LOOSENESS))
    if dead is not None:
        surely &= ~dead
    if surely.any():
        neuron = int(surely.argmax())
        found = float(np.sqrt(lost[neuron] / whole[neuron])) if whole[neuron] else "all of it"
        raise ClaimRefuted(f"loss of neuron {neuron} by LASSO", claimed=f"at most {epsilon!r}", found=found, tensor=name)


def errors_of(rows: Array, moments: Moments) -> tuple[Array, Array]:
    """Return upper bounds of sqrt(E (w . x)^2) for every row w, and roots of how far two evaluations of squares can be apart.

    A product of BLAS adds in any order, which moves w' S w by at most gamma_(2d+2) (sum_j |w_j| s_j)^2; the bounds give away a
    few times that (see quadratic.py), which is doubled here for two evaluations. Shape: (neurons, fan_in) -> twice (neurons,).
    """
    groups = moments.second_moments.size // rows.shape[1]
    roots = np.repeat(input_roots(moments, groups=groups, fan_in=rows.shape[1]), len(rows) // groups, axis=0)
    most = (np.abs(rows) * roots).sum(axis=1)
    return row_errors(rows, moments, groups=groups), 4 * np.sqrt((2 * rows.shape[1] + 4) * UNIT_ROUNDOFF) * most


def _exponent(rows: Array, moments: Moments) -> int:
    """Return e with |w_j| s_j 2^-e at most 1, and near it for some weight. LASSO is the same in any unit."""
    roots = input_roots(moments, groups=moments.second_moments.size // rows.shape[1], fan_in=rows.shape[1])
    first = int(np.frexp(np.abs(rows).max())[1])
    products = np.ldexp(np.abs(rows), -first).reshape(len(roots), -1, rows.shape[1]) * roots[:, np.newaxis]
    return first + int(np.frexp(products.max())[1])
