"""The scales of 8-bit weights, applied weight by weight: plainly, and otherwise than a server does it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellq.v1.scales import Scale
from ellq_client.checkpoint import Checkpoint
from ellq_math.float8 import scale_values
from ellq_math.sums import Array


@dataclass(frozen=True)
class Factor:
    """What the stored values of one tensor are multiplied by."""

    scale: Scale
    numbers: Array
    """In the order of the scale's grid; NaN for what is no scale."""

    def over(self, shape: tuple[int, ...], order: Sequence[int], first: int, count: int) -> Array:
        """Return the factors of `count` weights from the `first` on, when the axes of a tensor are taken in this order.

        Shape: (count,) float64.
        """
        indices = np.unravel_index(np.arange(first, first + count), [shape[axis] for axis in order])
        cells = [indices[order.index(axis)] // side for axis, side in enumerate(self.scale.block)]
        return self.numbers[np.ravel_multi_index(cells, self.scale.grid)]


def read_factor(checkpoint: Checkpoint, scale: Scale | None) -> Factor | None:
    """Return a scale as it lies in a file; None for none. Errors: SourceError."""
    if scale is None:
        return None
    stored = next(tensor for tensor in checkpoint.tensors if tensor.name == scale.name)
    return Factor(scale, scale_values(bytes(checkpoint.read(stored.begin, stored.length_bytes)), scale.dtype))
