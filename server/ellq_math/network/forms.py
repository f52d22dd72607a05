"""Quadratic forms that bound how far readouts move, pulled back through layers and activations.

A form is a symmetric matrix Q; it stands for every form below it (Loewner order). Rounding is paid on its diagonal: a computed
matrix that is off by at most delta in the Frobenius norm lies, plus delta I, above the true one. What underflows is far below
that delta as long as the largest magnitudes of forms and of what they meet are near 1; `balanced` and `scaled_down` see to it.
"""

import numpy as np

from ellq_math.interruption import end_if_unwanted
from ellq_math.network.layer_gains import combine
from ellq_math.network.nodes import Activation, ActivationKind
from ellq_math.spectral import frobenius_bound, scaled_down, scaled_up, spectral_norm_bound
from ellq_math.sums import UNIT_ROUNDOFF, Array, round_up

FALLING = (ActivationKind.GELU, ActivationKind.GELU_TANH, ActivationKind.SILU, ActivationKind.HARD_SWISH)
"""Activations that are not monotone: their slopes are below zero somewhere."""

SWEEPS = 6
"""Improvements of the multipliers; any positive multipliers that pass the check give a bound."""

POWER_STEPS = 12
"""Of a norm that only guides."""

UNDERFLOW = 2.0**-900
"""More than all that underflows in products of matrices whose largest magnitudes are near 1."""

HEADROOM = 1.8
"""Largest norm of P relative to the multipliers T; below 2, so that 2 T - P is well above zero."""


def balanced(form: Array) -> tuple[Array, int]:
    """Return Q 4^-k, its largest magnitude in [1/4, 1), and k, so that sqrt(x' Q x) is 2^k times what the first makes of x."""
    halves = (int(np.frexp(np.abs(form).max())[1]) + 1) // 2
    return np.ldexp(form, -2 * halves), halves


def root_norm(form: Array) -> float:
    """Return at least the root of a form's norm: sqrt(x' Q x) is at most that times ||x||_2."""
    return float(round_up(np.sqrt(np.array(spectral_norm_bound(form))), roundings=1))


@np.errstate(over="ignore", invalid="ignore", under="ignore")
def change_in_form(form: Array, change: Array, matrix: Array | None, roots: Array, sums: Array) -> float:
    """Return at least sqrt(E (C h)' Q (C h)) for a change C of weights: at most sqrt(tr(Q C S C')), S being E h h'.

    Without S, by columns c_j of C, sum_j s_j sqrt(c_j' Q c_j) (Minkowski). Shape: (n, n), (n, d), (d, d), (d,), (n,); `sums`
    are at least sum_j |C_ij| s_j. Products are off by gamma ||Q||_F times the squares of `sums`, or of the columns' norms.
    All are scaled by powers of two, so that only products below 2^-1000 underflow.
    """
    if not (sums.any() and form.any()):
        return 0.0
    gamma = 4 * (sum(change.shape) * 2 + 8) * UNIT_ROUNDOFF
    form, halves = balanced(form)
    size = _frobenius(form)
    if matrix is None:
        _, exponents = np.frexp(np.abs(change).max(axis=0))
        scaled = np.ldexp(change, -exponents)
        forms = np.einsum("ij,ij->j", scaled, form @ scaled)
        slack = gamma * size * np.einsum("ij,ij->j", scaled, scaled) + UNDERFLOW
        columns = round_up(np.sqrt(np.maximum(forms, 0) + slack), roundings=4)
        columns = np.where(change.any(axis=0), np.nextafter(np.ldexp(columns, exponents + halves), np.inf), 0.0)
        return float(combine(columns[np.newaxis], roots)[0])
    scaled, exponent = scaled_down(change)
    middle, root_exponent = balanced(matrix)
    sums = np.ldexp(sums, -exponent - root_exponent)
    form_value = float(np.einsum("ij,ij->", form @ (scaled @ middle), scaled))
    slack = gamma * size * float(sums @ sums) + UNDERFLOW
    value = float(round_up(np.sqrt(np.array(max(form_value, 0.0) + slack)), roundings=4))
    return _settled(scaled_up(value, exponent + root_exponent + halves))


def through_weights(form: Array, weights: Array) -> Array:
    """Return a form above W' Q W. Shape: (n, n), (n, d), magnitudes not far from 1 -> (d, d). Zero for a zero product only."""
    gamma = 4 * (2 * len(form) + 8) * UNIT_ROUNDOFF
    return _raised(weights.T @ form @ weights, gamma * _frobenius(form) * _frobenius(weights) * _frobenius(weights))


def through_scale(form: Array, scale: Array) -> Array:
    """Return a form above diag(a) Q diag(a), for factors a that met three roundings.

    Shape: (n, n), (n,), magnitudes not far from 1 -> (n, n).
    """
    most = float(np.abs(scale).max())
    return _raised(scale[:, np.newaxis] * form * scale, 16 * UNIT_ROUNDOFF * _frobenius(form) * most * most)


def through_activation(form: Array, activation: Activation, slope: float, expected: Array) -> Array | None:
    """Return a form above P at the values, d, as one at what enters, z; None where no multipliers pass.

    Differences obey d_i (slope z_i - d_i) >= 0 where the activation is monotone. So for all multipliers T >= 0 with 2 T > P

        d' P d <= d' P d + 2 d' T (slope z - d) <= slope^2 z' T (2 T - P)^-1 T z        (the maximum over d).

    Otherwise d_i^2 <= slope^2 z_i^2, and d' P d <= slope^2 z' T z for T >= P. `expected`, a guess of E z z', guides the choice.
    """
    size = float(np.abs(form).max())
    if size == 0 or activation.kind is ActivationKind.IDENTITY:
        return form
    if not np.isfinite(size) or not 2.0**-300 < size < 2.0**300:
        return None
    if activation.kind in FALLING:
        multipliers = _lifted_to(form, _row_norms(form), 1.0)
        return np.diag(round_up(multipliers * slope * slope, roundings=2))
    roots = np.sqrt(_multipliers(form, expected))  # T is their squares, exactly
    even = form / roots[:, np.newaxis] / roots  # T^-1/2 P T^-1/2, so that nothing is badly conditioned
    even = _raised(even, 16 * UNIT_ROUNDOFF * _frobenius(even))
    inverse = _inverse_above(2 * np.eye(len(form)) - even)
    return None if inverse is None else through_scale(inverse, roots * slope)


def _multipliers(form: Array, expected: Array) -> Array:
    """Return T with ||T^-1/2 P T^-1/2|| <= HEADROOM, near a minimum of tr(T (2 T - P)^-1 T C); C is what is expected.

    There (X C)_ii = (X C X')_ii with X = (2 T - P)^-1 T: T is moved by the root of their quotient.
    """
    guess = scaled_down(expected)[0] if np.isfinite(expected).all() else np.eye(len(form))
    rough = guess + 0.05 * np.trace(guess) / len(form) * np.eye(len(form))
    chosen = _row_norms(form)
    chosen *= _norm_guess(form, chosen) / (4 / 3)
    for _ in range(SWEEPS):
        end_if_unwanted()
        solved = np.linalg.solve(2 * np.diag(chosen) - form, np.diag(chosen))
        pulled = solved @ rough
        above, below = np.einsum("ij,ij->i", pulled, solved), np.diagonal(pulled)
        quotients = np.clip(above / np.maximum(below, above / 4 + 2.0**-1000), 0.25, 4)
        moved = chosen * np.sqrt(quotients)
        chosen = moved * max(1.0, _norm_guess(form, moved) / HEADROOM)
    return np.maximum(chosen, _lifted_to(form, chosen, HEADROOM))


def _norm_guess(form: Array, multipliers: Array) -> float:
    """Return about ||T^-1/2 P T^-1/2||, by power iteration: below the truth, so it guides and proves nothing."""
    roots = 1 / np.sqrt(multipliers)
    vector = np.sqrt(np.abs(np.diagonal(form))) * roots + 2.0**-30
    norm = 0.0
    for _ in range(POWER_STEPS):
        vector = roots * (form @ (roots * vector)) / np.linalg.norm(vector)
        norm = float(np.linalg.norm(vector))
    return norm


def _lifted_to(form: Array, multipliers: Array, most: float) -> Array:
    """Return the multipliers times what makes ||T^-1/2 P T^-1/2|| at most `most`, certified."""
    roots = 1 / np.sqrt(multipliers)
    scaled = roots[:, np.newaxis] * form * roots
    norm = spectral_norm_bound(scaled) + 16 * UNIT_ROUNDOFF * _frobenius(scaled)
    return multipliers * (norm / most * (1 + 16 * UNIT_ROUNDOFF))


def _row_norms(form: Array) -> Array:
    """Return the norms of a form's rows, none much below the largest."""
    norms = np.sqrt((form * form).sum(axis=1))
    return np.maximum(norms, norms.max() * 2.0**-20)


def _inverse_above(positive: Array) -> Array | None:
    """Return a form above the inverse of a positive definite matrix; None when it is too near a singular one.

    With R = I - A X, A^-1 = X (I - R)^-1, so A^-1 is within ||X|| ||R|| / (1 - ||R||) of X.
    """
    below = positive - 4 * UNIT_ROUNDOFF * np.diag(np.abs(np.diagonal(positive)))  # its diagonal met roundings
    guess: Array = np.linalg.inv(below).astype(np.float64)
    gamma = 4 * (len(below) + 4) * UNIT_ROUNDOFF
    residual = _frobenius(np.eye(len(below)) - below @ guess) + gamma * _frobenius(below) * _frobenius(guess)
    if not residual < 2.0**-10:
        return None
    return _raised(guess, 2 * residual * _frobenius(guess))


def _raised(computed: Array, delta: float) -> Array:
    """Return the symmetric part, delta added on the diagonal; twice, as that and the mean round too."""
    mean = (computed + computed.T) / 2
    return mean + np.diag(np.full(len(mean), 2 * delta + 4 * UNIT_ROUNDOFF * float(np.abs(mean).max()) * 2))


def _frobenius(matrix: Array) -> float:
    """Return at least the Frobenius norm."""
    scaled, exponent = scaled_down(matrix)
    return scaled_up(float(frobenius_bound(scaled)), exponent)


def _settled(value: float) -> float:
    """Return the value; infinity where it is undefined."""
    return value if value == value else np.inf
