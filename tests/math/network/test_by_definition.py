"""The yardstick itself, held against torch."""

import numpy as np
import pytest
from tests.math.network.by_definition import evaluate

from ellq_math.network.nodes import Activation, ActivationKind, BatchNorm, Conv, Linear, Pool, PoolKind, Softmax

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(7)
TENSORS = {
    "matrix": RNG.normal(size=(4, 6)),
    "kernel": RNG.normal(size=(4, 3, 3, 2)),
    "line": RNG.normal(size=(4, 6, 3)),
    "bias": RNG.normal(size=4),
    "mean": RNG.normal(size=6),
    "variance": RNG.uniform(0, 2, size=6),
}
WEIGHTS = {name: torch.from_numpy(tensor) for name, tensor in TENSORS.items()}
F = torch.nn.functional


@pytest.mark.parametrize(
    ("operation", "shape", "function"),
    [
        (Linear("matrix", "bias"), (6,), lambda x: F.linear(x, WEIGHTS["matrix"], WEIGHTS["bias"])),
        (
            Conv("kernel", "bias", (2, 1), (1, 2), (1, 3), 2),
            (6, 7, 8),
            lambda x: F.conv2d(x, WEIGHTS["kernel"], WEIGHTS["bias"], (2, 1), (1, 2), (1, 3), 2),
        ),
        (Conv("line", None, (3,), (2,), (2,)), (6, 9), lambda x: F.conv1d(x, WEIGHTS["line"], None, 3, 2, 2)),
        (Pool(PoolKind.MAX, (3, 2), (2, 1), (1, 0)), (2, 5, 6), lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0))),
        (Pool(PoolKind.MEAN, (3,), padding=(1,)), (2, 5, 6), lambda x: F.avg_pool2d(x, 3, padding=1)),
        (Softmax(), (5,), lambda x: F.softmax(x, 1)),
        (BatchNorm("mean", "variance", 0.5), (6, 4), lambda x: F.batch_norm(x, WEIGHTS["mean"], WEIGHTS["variance"], eps=0.5)),
    ],
)
def test_steps_are_those_of_torch(operation, shape, function):
    check(operation, shape, function)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (Activation(ActivationKind.LEAKY_RELU, (0.25,)), lambda x: F.leaky_relu(x, 0.25)),
        (Activation(ActivationKind.CLIP, (0.0, 6.0)), F.relu6),
        (Activation(ActivationKind.GELU), F.gelu),
        (Activation(ActivationKind.GELU_TANH), lambda x: F.gelu(x, approximate="tanh")),
        (Activation(ActivationKind.SILU), F.silu),
        (Activation(ActivationKind.ELU, (0.5,)), lambda x: F.elu(x, 0.5)),
        (Activation(ActivationKind.SOFTPLUS), F.softplus),
        (Activation(ActivationKind.HARD_SIGMOID), F.hardsigmoid),
        (Activation(ActivationKind.HARD_SWISH), F.hardswish),
        (Activation(ActivationKind.SIGMOID), torch.sigmoid),
        (Activation(ActivationKind.TANH), torch.tanh),
    ],
)
def test_activations_are_those_of_torch(activation, function):
    check(activation, (40,), function)


def check(operation, shape, function):
    """Both are float64 sums of at most 54 terms of a few units each, or functions within a few roundings: far below 2^-40."""
    x = RNG.normal(size=(3, *shape)) * 3
    expected = function(torch.from_numpy(x)).numpy()
    found = evaluate(operation, [x], TENSORS)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2.0**-40
