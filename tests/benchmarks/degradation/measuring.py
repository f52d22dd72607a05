"""A network run in float64 on its exact float32 weights, and how far that can be from exact arithmetic.

Certificates speak of exact arithmetic, so a measured change refutes one only if it exceeds it by more than rounding explains.
Claim: the computed value of a layer is within gamma_N m of the exact one (gamma_N = N u / (1 - N u), u = 2^-53), where m is
what the network of the magnitudes |W|, |b| gives at inputs of the largest magnitudes, and N adds up fan-in + 1 of all layers
so far. Proof: a sum of fan-in products and a bias, in any order, is within gamma_(fan-in + 1) of its magnitudes (Higham,
Accuracy and Stability of Numerical Algorithms, section 3.1); errors of the inputs pass through |W|; ReLU, the largest of a
window and the flattening do not increase them; and gamma_a + gamma_b + gamma_a gamma_b <= gamma_(a + b). For float64 torch
computes convolutions as matrix products of unfolded windows; a fast transform would not be covered.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

UNIT_ROUNDOFF = 2.0**-53

Array = npt.NDArray[np.float64]
Weights = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class LayerTrace:
    """What one layer with weights saw and gave."""

    tensor: str
    """Name of its weights."""
    inputs: torch.Tensor
    """(samples, ...) float64."""
    values: torch.Tensor
    """(samples, ...) float64, before any activation."""
    roundings: int
    """N of the claim above."""


def with_weights(module: nn.Sequential, weights: Weights) -> nn.Sequential:
    """Return the network in float64 with these weights, every bit of them kept."""
    other = copy.deepcopy(module).double()
    other.load_state_dict({name: torch.from_numpy(values).double() for name, values in weights.items()})
    return other.eval()


def weights_of(module: nn.Module) -> dict[str, npt.NDArray[np.float32]]:
    """Return the stored weights by name, as the service takes them."""
    return {name: values.float().numpy() for name, values in module.state_dict().items()}


@torch.no_grad()
def outputs_of(module: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """Return the outputs. Shape: (samples, outputs) float64."""
    return torch.cat([module(batch) for batch in inputs.split(1000)])


@torch.no_grad()
def trace(module: nn.Sequential, inputs: torch.Tensor) -> list[LayerTrace]:
    """Return what every layer with weights sees and gives, the output layer last."""
    found, values, roundings = [], inputs, 0
    for name, layer in module.named_children():
        before, values = values, layer(values)
        if isinstance(layer, nn.Linear | nn.Conv2d):
            roundings += layer.weight[0].numel() + 1
            found.append(LayerTrace(f"{name}.weight", before, values, roundings))
    return found


def magnitudes(module: nn.Sequential, inputs: torch.Tensor) -> list[LayerTrace]:
    """Return the trace of the network of magnitudes at the largest magnitudes of the inputs, as a single sample."""
    other = copy.deepcopy(module)
    other.load_state_dict({name: values.abs() for name, values in module.state_dict().items()})
    return trace(other, inputs.abs().amax(dim=0, keepdim=True))


def rounding_of(most: LayerTrace) -> Array:
    """Return how far each computed value can be from the exact one, at every sample. Shape: (values,).

    `most` is of magnitudes, themselves computed with N roundings: doubling u pays for both.
    """
    return 2 * most.roundings * UNIT_ROUNDOFF * _flat(most.values)[0]


@torch.no_grad()
def through(layer: nn.Module, weight: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return what another tensor of weights in place of the layer's makes of the inputs, without bias."""
    if isinstance(layer, nn.Conv2d):
        return nn.functional.conv2d(inputs, weight, stride=layer.stride, padding=layer.padding)
    return nn.functional.linear(inputs, weight)


@dataclass(frozen=True)
class Size:
    """How large a change of values is: as measured, and what the true one is at least."""

    values: Array
    """(values,) float64, at least 0."""
    norm: float
    """Of the vector of all values."""
    values_surely: Array
    norm_surely: float


@dataclass(frozen=True)
class Change:
    """How far values moved over all samples."""

    average: Size
    """Root mean squares."""
    worst: Size
    """Largest."""

    def of_grade(self, grade: str) -> Size:
        """Return what certificates of this grade speak of."""
        return self.average if grade == "mean_square" else self.worst


def change(moved: torch.Tensor, rounding: Array) -> Change:
    """Return how far values moved. Shape: (samples, ...); rounding (values,) bounds the error of each computed value."""
    flat = _flat(moved)
    norms = np.linalg.norm(flat, axis=1)
    summed = 1 - (sum(flat.shape) + 4) * UNIT_ROUNDOFF  # sums of squares over values, then over samples, and their roots

    def size(values: Array, norm: float) -> Size:
        values_surely = np.maximum(values * summed - rounding, 0.0)
        return Size(values, norm, values_surely, max(norm * summed - float(np.linalg.norm(rounding)), 0.0))

    average = size(np.sqrt(np.mean(flat**2, axis=0)), float(np.sqrt(np.mean(norms**2))))
    return Change(average, worst=size(np.abs(flat).max(axis=0), float(norms.max())))


def _flat(values: torch.Tensor) -> Array:
    return values.reshape(len(values), -1).numpy()
