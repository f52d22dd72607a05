"""What a cut does to a neuron in the mean square, from second moments of its inputs."""

import numpy as np

from ellq_math.network.knowledge import InvalidMoments, Moments
from ellq_math.network.layer_gains import combine
from ellq_math.sums import UNIT_ROUNDOFF, Array, round_up

TOLERANCE = 2.0**-20
"""How far moments that were added in single precision may contradict the Cauchy-Schwarz inequality, in relation to s_i s_j."""


def check_moments(moments: Moments, *, groups: int, fan_in: int) -> None:
    """Refuse moments that no inputs of `groups` groups of `fan_in` weights have. Errors: InvalidMoments."""
    second, matrix = moments.second_moments, moments.matrix
    if second.shape != (groups * fan_in,):
        wanted = f"{groups * fan_in}" if groups == 1 else f"{groups} x {fan_in}"
        raise InvalidMoments(moments.tensor, f"second_moments has {second.size} entries; a neuron's inputs are {wanted}")
    sound = np.isfinite(second) & (second >= 0)
    if not sound.all():
        index = int(np.argmin(sound))
        raise InvalidMoments(
            moments.tensor, f"second_moments[{index}] is {float(second[index])!r}; allowed is 0 or more, finite"
        )
    if matrix is not None:
        _check_matrix(moments.tensor, second.reshape(groups, fan_in), matrix)


def input_roots(moments: Moments, *, groups: int, fan_in: int) -> Array:
    """Return s: at least the root mean square of every input. Shape: (groups, fan_in).

    No less than the roots of the matrix's diagonal: what rounding costs its forms is bounded by |S_ij| <= s_i s_j.
    """
    second = moments.second_moments.reshape(groups, fan_in)
    if moments.matrix is not None:
        second = np.maximum(second, np.diagonal(moments.matrix, axis1=1, axis2=2))
    return round_up(np.sqrt(second), roundings=1)


def row_errors(delta: Array, moments: Moments, *, groups: int) -> Array:
    """Return at least sqrt(E (delta_i . x)^2) for every neuron i. Shape: (neurons, fan_in) -> (neurons,).

    The least of sum_j |delta_ij| s_j (Minkowski) and, given the matrix S, sqrt(delta_i' S delta_i).
    """
    neurons, fan_in = delta.shape
    roots = input_roots(moments, groups=groups, fan_in=fan_in)
    parts = delta.reshape(groups, neurons // groups, fan_in)
    sums = [combine(np.abs(part), s) for part, s in zip(parts, roots, strict=True)]
    if moments.matrix is not None:
        blocks = zip(parts, moments.matrix, sums, strict=True)
        sums = [np.minimum(most, quadratic_roots(part, matrix, most)) for part, matrix, most in blocks]
    return np.concatenate(sums)


@np.errstate(over="ignore", invalid="ignore", under="ignore")
def quadratic_roots(rows: Array, matrix: Array, sums: Array) -> Array:
    """Return at least sqrt(w' S w) for every row w, given sums of at least sum_j |w_j| s_j.

    Shape: (rows, d), (d, d), (rows,) -> (rows,). In whatever order the two products are added, the computed form is off by at
    most gamma_(2d+2) sum_ij |w_i| |S_ij| |w_j| <= gamma_(2d+2) (1 + TOLERANCE) (sum_j |w_j| s_j)^2. Infinity on overflow.
    """
    _, row_exponents = np.frexp(np.abs(rows).max(axis=1))
    _, exponent = np.frexp(np.abs(matrix).max())
    exponent += exponent % 2  # an even power, so that its root is a power of two
    scaled = np.ldexp(rows, -row_exponents[:, np.newaxis])
    forms = np.einsum("ij,ij->i", scaled @ np.ldexp(matrix, -exponent), scaled)
    most = np.ldexp(sums, -row_exponents - exponent // 2)
    slack = 4 * (2 * rows.shape[1] + 4) * UNIT_ROUNDOFF * most * most + 2.0**-900  # and products that underflow
    roots = round_up(np.sqrt(np.maximum(forms, 0) + slack), roundings=4)
    found = np.nextafter(np.ldexp(roots, row_exponents + exponent // 2), np.inf)  # in one step, as in two it may round twice
    return np.where(sums == 0, 0.0, np.where(np.isnan(found), np.inf, found))


@np.errstate(over="ignore")
def _check_matrix(tensor: str, second: Array, matrix: Array) -> None:
    """Refuse a matrix that is no second moment, or not of the inputs that second_moments speaks of."""
    groups, fan_in = second.shape
    if matrix.shape != (groups, fan_in, fan_in):
        raise InvalidMoments(tensor, f"the matrix has shape {matrix.shape}; allowed is {(groups, fan_in, fan_in)}")
    if not np.isfinite(matrix).all():
        raise InvalidMoments(tensor, "the matrix holds NaN or infinity")
    for group, (above, block) in enumerate(zip(second, matrix, strict=True)):
        diagonal = np.diagonal(block)
        wrong = (diagonal < 0) | (diagonal > above * (1 + TOLERANCE))
        if wrong.any():
            index = int(np.argmax(wrong))
            found = f"entry ({index}, {index}) of group {group}'s matrix is {float(diagonal[index])!r}"
            raise InvalidMoments(tensor, f"{found}; allowed is 0 to second_moments, here {float(above[index])!r}")
        roots = np.sqrt(diagonal)
        allowed = np.outer(roots, roots)
        for wrong, what in (
            (np.abs(block - block.T) > TOLERANCE * allowed, "is not symmetric"),
            (np.abs(block) > (1 + TOLERANCE) * allowed, "contradicts the Cauchy-Schwarz inequality"),
        ):
            if wrong.any():
                row, column = (int(place) for place in np.unravel_index(np.argmax(wrong), wrong.shape))
                raise InvalidMoments(tensor, f"group {group}'s matrix {what} at ({row}, {column})")
