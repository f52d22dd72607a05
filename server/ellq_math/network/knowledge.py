"""What is known of the inputs of a network. Taken on trust, but not when it cannot be: values that exist are consistent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ellq_math.sums import Array, round_up


class InvalidInputs(ValueError):
    """A box, radius or margins that no inputs have. `where` is the field: "box.low", "l2_radius", "margins", ..."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where


class InvalidMoments(ValueError):
    """Second moments that no inputs have. `tensor` says whose."""

    def __init__(self, tensor: str, message: str) -> None:
        super().__init__(message)
        self.tensor = tensor


@dataclass(frozen=True)
class Box:
    """Bounds of every input value: (1,) for all or (values,) row-major, float64, finite, low <= high."""

    low: Array
    high: Array

    def __post_init__(self) -> None:
        for where, values in (("box.low", self.low), ("box.high", self.high)):
            if values.ndim != 1 or len(values) == 0:
                raise InvalidInputs(where, f"{where} is empty; it has one entry for each input value, or a single one")
            if not np.isfinite(values).all():
                raise InvalidInputs(where, f"{where} holds NaN or infinity at index {int(np.argmin(np.isfinite(values)))}")
        if len(self.low) != len(self.high) and 1 not in (len(self.low), len(self.high)):
            raise InvalidInputs("box", f"box.low has {len(self.low)} entries, box.high has {len(self.high)}")
        above = np.broadcast_arrays(self.low, self.high)[0] > self.high
        if above.any():
            index = int(np.argmax(above))
            raise InvalidInputs("box", f"box.low is above box.high at index {index}")

    def ends(self, values: int) -> tuple[Array, Array]:
        """Return low and high of an input of so many values, (values,) each. Errors: InvalidInputs for another number."""
        for where, given in (("box.low", self.low), ("box.high", self.high)):
            if len(given) not in (1, values):
                allowed = f"allowed is 1, or {values}, one for each input value"
                raise InvalidInputs(where, f"{where} has {len(given)} entries; {allowed}")
        return np.broadcast_to(self.low, values), np.broadcast_to(self.high, values)

    def magnitudes(self, values: int) -> Array:
        """Return the largest magnitude of each value of such an input. Shape: (values,). Errors: InvalidInputs, as `ends`."""
        low, high = self.ends(values)
        return np.maximum(np.abs(low), np.abs(high))


@dataclass(frozen=True)
class Moments:
    """Second moments of what enters the neurons of one tensor, in the original network.

    For a convolution with groups, those of one group follow those of another.
    """

    tensor: str
    second_moments: Array
    """(groups * fan_in,) float64: at least E x_j^2 each; for a convolution the mean over samples and positions."""
    matrix: Array | None = None
    """(groups, fan_in, fan_in) float64, symmetric: E x x'. None: only the diagonal is known."""

    @property
    def roots(self) -> Array:
        """s_j, the size of each input: the root of its second moment, rounded up. Shape: (groups * fan_in,)."""
        return round_up(np.sqrt(self.second_moments), roundings=1)


@dataclass(frozen=True)
class Knowledge:
    """All that is known."""

    box: Box | None = None
    l2_radius: float | None = None
    """At least the l_2 norm of every input."""
    moments: Mapping[str, Moments] = field(default_factory=dict[str, Moments])
    """By name of tensor."""
    margins: Array | None = None
    """(samples,) float64, sorted or not: how far the largest output lies above the second largest."""

    def __post_init__(self) -> None:
        radius = self.l2_radius
        if radius is not None and not 0 < radius < np.inf:
            raise InvalidInputs("l2_radius", f"l2_radius is {radius!r}; allowed is above 0 and finite")
        margins = self.margins
        if margins is not None and not ((margins >= 0) & np.isfinite(margins)).all():
            index = int(np.argmin((margins >= 0) & np.isfinite(margins)))
            raise InvalidInputs("margins", f"margins[{index}] is {float(margins[index])!r}; allowed is 0 or more, finite")
