"""Checks what is said of a tensor under moments: how far its neurons' sums move as a root mean square."""

import numpy as np

from ellq_client.errors import ClaimRefuted
from ellq_client.values import Certificate
from ellq_client.verifying.claims import LOOSENESS, Claims
from ellq_math.network.dead_neurons import Flags
from ellq_math.network.knowledge import Moments
from ellq_math.network.quadratic import input_roots, row_errors
from ellq_math.sums import UNIT_ROUNDOFF, Array


def check_mean_squares(name: str, claimed: Certificate, change: Array, moments: Moments) -> None:
    """Check the mean squares of a certificate. Shape of change: (neurons, fan_in). Errors: ClaimRefuted."""
    squares, slack = squared_errors(change, moments)
    _hold(name, "mean_square_max", claimed.mean_square_max, float(squares.max()), slack=float(slack.max()))
    _hold(name, "mean_square_l2", claimed.mean_square_l2, float(squares.sum()), slack=float(slack.sum()))


def check_no_mean_squares(name: str, claimed: Certificate) -> None:
    """Check that nothing is said of the mean squares of a tensor without moments. Errors: ClaimRefuted."""
    Claims(name).equal("certificate.mean_square_max", claimed.mean_square_max, None)
    Claims(name).equal("certificate.mean_square_l2", claimed.mean_square_l2, None)


def check_lasso(name: str, before: Array, change: Array, moments: Moments, *, epsilon: float, dead: Flags | None) -> None:
    """Check that no neuron lost more than epsilon of its root mean square, as LASSO promises, unless it was removed as dead.

    Errors: ClaimRefuted.
    """
    (lost, lost_slack), (whole, whole_slack) = squared_errors(change, moments), squared_errors(before, moments)
    surely = lost - lost_slack > epsilon * epsilon * (whole + whole_slack) * (1 + LOOSENESS)
    if dead is not None:
        surely &= ~dead
    if surely.any():
        neuron = int(surely.argmax())
        found = float(np.sqrt(lost[neuron] / whole[neuron])) if whole[neuron] else "all of it"
        raise ClaimRefuted(f"loss of neuron {neuron} by LASSO", claimed=f"at most {epsilon!r}", found=found, tensor=name)


def squared_errors(rows: Array, moments: Moments) -> tuple[Array, Array]:
    """Return upper bounds of E (w . x)^2 for every row w, and how far two evaluations of them can be apart.

    A product of BLAS adds in any order, which moves w' S w by at most gamma_(2d+2) (sum_j |w_j| s_j)^2; the bounds give away a
    few times that (see quadratic.py), which is doubled here for two evaluations. Shape: (neurons, fan_in) -> twice (neurons,).
    """
    groups = moments.second_moments.size // rows.shape[1]
    roots = np.repeat(input_roots(moments, groups=groups, fan_in=rows.shape[1]), len(rows) // groups, axis=0)
    most = (np.abs(rows) * roots).sum(axis=1)
    errors = row_errors(rows, moments, groups=groups)
    return errors * errors, 16 * (2 * rows.shape[1] + 4) * UNIT_ROUNDOFF * most * most


def _hold(name: str, claim: str, claimed: float | None, square: float, *, slack: float) -> None:
    place = f"certificate.{claim}"
    if claimed is None or not abs(claimed * claimed - square) <= slack + 2 * LOOSENESS * square:
        raise ClaimRefuted(place, claimed=repr(claimed), found=repr(float(np.sqrt(square))), tensor=name)
