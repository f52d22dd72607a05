"""A trained network with everything that a certificate may know of its inputs, measured once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from ellq_client.networks import Calibration, Network, calibrate, network_of
from tests.benchmarks.degradation.data import Data
from tests.benchmarks.degradation.measuring import LayerTrace, Weights, magnitudes, outputs_of, trace, weights_of, with_weights
from tests.benchmarks.degradation.models import Recipe, trained

CALIBRATION_SAMPLES = 2000
"""The first ones that the network was trained on: the whole distribution that mean square certificates speak of."""

TEST_SAMPLES = 5000
"""Held out. Mean square certificates do not cover them; the box and the ball do."""


@dataclass(frozen=True)
class Subject:
    """One network of the study. Tensors are float64, shaped as the network takes them."""

    recipe: Recipe
    seed: int
    module: nn.Sequential
    calibration_inputs: torch.Tensor
    calibration_targets: torch.Tensor
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    network: Network
    """With the box and the ball of all samples, held-out ones included, and the margins of the calibration samples."""
    calibration: Calibration

    @cached_property
    def weights(self) -> Weights:
        """As they are sent, by name."""
        return weights_of(self.module)

    @cached_property
    def traces(self) -> list[LayerTrace]:
        """Of the calibration samples."""
        return trace(self.module, self.calibration_inputs)

    @cached_property
    def magnitudes(self) -> list[LayerTrace]:
        """At the largest inputs of all samples."""
        return magnitudes(self.module, self.all_inputs)

    @cached_property
    def all_inputs(self) -> torch.Tensor:
        """Of calibration and test."""
        return torch.cat([self.calibration_inputs, self.test_inputs])

    @cached_property
    def test_outputs(self) -> torch.Tensor:
        """(samples, outputs)."""
        return outputs_of(self.module, self.test_inputs)

    @property
    def has_classes(self) -> bool:
        """Whether the outputs are logits of classes; else it is one number."""
        return self.test_targets.dtype == torch.int64


def subject_of(recipe: Recipe, data: Data, seed: int) -> Subject:
    """Return the network, trained and measured."""
    module = trained(recipe, data, seed)
    module = with_weights(module, weights_of(module))
    calibration_inputs = _inputs(recipe, data.train_inputs[:CALIBRATION_SAMPLES])
    test_inputs = _inputs(recipe, data.test_inputs[:TEST_SAMPLES])
    calibration = calibrate(module, calibration_inputs.split(500))
    seen = torch.cat([calibration_inputs, test_inputs]).reshape(-1, int(np.prod(recipe.input_shape)))
    # A sum of squares, its root and this product meet fewer roundings than there are values, twice.
    radius = float(seen.norm(dim=1).max()) * (1 + 2 * seen.shape[1] * 2.0**-53)
    network = network_of(module, recipe.input_shape).with_inputs(
        box=(seen.amin(dim=0).numpy(), seen.amax(dim=0).numpy()),
        l2_radius=radius,
        margins=calibration.margins if calibration.margins.size else None,
    )
    return Subject(
        recipe,
        seed,
        module,
        calibration_inputs,
        torch.from_numpy(data.train_targets[:CALIBRATION_SAMPLES]),
        test_inputs,
        torch.from_numpy(data.test_targets[:TEST_SAMPLES]),
        network,
        calibration,
    )


def _inputs(recipe: Recipe, samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(samples.reshape(-1, *recipe.input_shape)).double()
