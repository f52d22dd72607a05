"""Tensors seen as the keys that a choice went by: magnitudes times scales of neurons and inputs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.verifying.matrices import Matrix
from ellq_math.network.knowledge import Moments
from ellq_math.network.weighing import KEY_MANTISSA_BITS, weigh
from ellq_math.sums import Array


@dataclass(frozen=True)
class WeighedMatrix(Matrix):
    """A tensor whose magnitudes are its keys."""

    rows: Array
    """(neurons,) float64."""
    columns: Array
    """(groups, fan_in) float64."""

    @property
    def scale(self) -> bool:
        """Keys are float64, whatever the weights are."""
        return True

    @property
    def mantissa_bits(self) -> int:
        """Stored mantissa bits of a key."""
        return KEY_MANTISSA_BITS

    def magnitudes(self, checkpoint: Checkpoint) -> Iterator[Array]:
        """Yield the keys of the blocks."""
        first, neurons_a_group = 0, self.neurons // len(self.columns)
        for magnitudes in super().magnitudes(checkpoint):
            rows = np.arange(first, first + len(magnitudes))
            yield weigh(magnitudes, self.rows[rows], self.columns[rows // neurons_a_group])
            first += len(magnitudes)


def weighed(matrix: Matrix, rows: Array, columns: Array) -> WeighedMatrix:
    """Return the tensor as keys. Shape: rows (neurons,), columns (groups, fan_in)."""
    return WeighedMatrix(matrix.tensor, matrix.neuron_axis, rows, columns, factor=matrix.factor)


def weighed_by_inputs(matrix: Matrix, moments: Moments) -> WeighedMatrix:
    """Return the tensor as |w_j| s_j, s_j the root of the second moment of input j, rounded up."""
    return weighed(matrix, np.ones(matrix.neurons), moments.roots.reshape(-1, matrix.fan_in))
