"""The numbers that come with an operation, checked and written out in full."""

import math
from dataclasses import replace

from ellq_math.network.nodes import Activation, ActivationKind, Affine, BatchNorm, Conv, Pool, PoolKind, Unbounded

LONGEST_DESCRIPTION = 200
"""Characters that an unbounded step may be described with."""

PARAMETERS = {ActivationKind.LEAKY_RELU: 1, ActivationKind.CLIP: 2, ActivationKind.ELU: 1}
"""How many parameters each activation has; none where it is absent."""


class Misfit(ValueError):
    """What does not fit, and what would. topology.py adds at which node."""


def complete_conv(conv: Conv, *, axes: int) -> Conv:
    """Return the convolution with one stride and dilation for each of `axes` spatial axes, and padding on all their sides."""
    if conv.groups < 1:
        raise Misfit(f"groups is {conv.groups}; allowed is 1 or more")
    return replace(
        conv,
        stride=_one_an_axis("stride", conv.stride or (1,), axes),
        padding=_two_an_axis(conv.padding or (0,), axes),
        dilation=_one_an_axis("dilation", conv.dilation or (1,), axes),
    )


def complete_pool(pool: Pool, *, axes: int) -> Pool:
    """Return the pool with one kernel length and stride for each of `axes` spatial axes, and padding on all their sides."""
    kernel = _one_an_axis("kernel", pool.kernel, axes)
    padding = _two_an_axis(pool.padding or (0,), axes)
    for axis, length in enumerate(kernel):
        sides = padding[2 * axis : 2 * axis + 2]
        if pool.kind is PoolKind.MAX and max(sides) >= length:  # a window of nothing but padding has no largest value
            raise Misfit(f"padding {sides} fills a window of {length}; allowed is less than the window, for largest values")
    return replace(pool, kernel=kernel, stride=_one_an_axis("stride", pool.stride or kernel, axes), padding=padding)


def check_parameters(operation: Activation | Affine | BatchNorm | Unbounded) -> None:
    """Refuse parameters that the operation does not have, or that no bound is known for."""
    match operation:
        case Activation():
            _check_activation(operation)
        case Affine(scale, shift):
            for what, values in (("scale", scale), ("shift", shift)):
                if not all(math.isfinite(value) for value in values):
                    raise Misfit(f"{what} holds NaN or infinity; allowed are finite numbers")
        case BatchNorm(epsilon=epsilon):
            if not 0 < epsilon < math.inf:
                raise Misfit(f"epsilon is {epsilon!r}; allowed is above 0 and finite")
        case Unbounded(what):
            if len(what) > LONGEST_DESCRIPTION:
                raise Misfit(f"the description has {len(what)} characters; allowed are {LONGEST_DESCRIPTION}")


def _check_activation(activation: Activation) -> None:
    kind, parameters = activation.kind, activation.parameters
    expected = PARAMETERS.get(kind, 0)
    if len(parameters) != expected:
        raise Misfit(f"{kind.value} comes with {len(parameters)} parameters; it has {expected}")
    if kind is ActivationKind.LEAKY_RELU and not 0 <= parameters[0] <= 1:
        raise Misfit(f"the slope of leaky_relu is {parameters[0]!r}; allowed is [0, 1]")
    if kind is ActivationKind.ELU and not 0 < parameters[0] <= 1:
        raise Misfit(f"the alpha of elu is {parameters[0]!r}; allowed is (0, 1]")
    if kind is ActivationKind.CLIP and not -math.inf < parameters[0] <= parameters[1] < math.inf:
        raise Misfit(f"clip lies between {parameters[0]!r} and {parameters[1]!r}; allowed is least <= largest, both finite")


def _one_an_axis(what: str, given: tuple[int, ...], axes: int) -> tuple[int, ...]:
    if len(given) not in (1, axes):
        raise Misfit(f"{what} has {len(given)} entries; allowed is one, or one for each of {axes} axes")
    if min(given) < 1:
        raise Misfit(f"{what} is {min(given)}; allowed is 1 or more")
    return given if len(given) == axes else given * axes


def _two_an_axis(given: tuple[int, ...], axes: int) -> tuple[int, ...]:
    if len(given) not in (1, axes, 2 * axes):
        raise Misfit(f"padding has {len(given)} entries; allowed is one, or one or two for each of {axes} axes")
    if min(given) < 0:
        raise Misfit(f"padding is {min(given)}; allowed is 0 or more")
    if len(given) == 2 * axes:
        return given
    sides = given if len(given) == axes else given * axes
    return tuple(side for side in sides for _ in range(2))
