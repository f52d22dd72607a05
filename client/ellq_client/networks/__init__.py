"""Networks: how tensors make up one, what enters its layers, and where both can be learnt from.

    from ellq_client.networks import Conv, Input, Linear, MaxPool, Relu, Reshape, chain

    network = chain(
        Input(1, 28, 28), Conv("conv1.weight", "conv1.bias"), Relu(), MaxPool(2), Reshape(), Linear("fc.weight", "fc.bias")
    )

`network_of` and `calibrate` need torch, `network_of_onnx` and `weights_of_onnx` need onnx; nothing else here does. How to use
it all: docs/networks.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ellq_client.networks.activations import (
    Activation,
    Clip,
    Elu,
    Gelu,
    GeluTanh,
    HardSigmoid,
    HardSwish,
    Identity,
    LeakyRelu,
    Relu,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from ellq_client.networks.inputs import Box, InputKnowledge
from ellq_client.networks.moments import Calibration, TensorMoments
from ellq_client.networks.network import Network, Node, chain
from ellq_client.networks.operations import (
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Input,
    Linear,
    MaxPool,
    MeanPool,
    Operation,
    Reshape,
    Softmax,
    Unbounded,
)

if TYPE_CHECKING:
    from ellq_client.networks.calibration import calibrate
    from ellq_client.networks.from_onnx import network_of_onnx, weights_of_onnx
    from ellq_client.networks.from_torch import network_of

__all__ = [
    "Activation",
    "Add",
    "Affine",
    "BatchNorm",
    "Box",
    "Calibration",
    "Clip",
    "Concat",
    "Conv",
    "Elu",
    "Gelu",
    "GeluTanh",
    "GlobalMean",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "Input",
    "InputKnowledge",
    "LeakyRelu",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Network",
    "Node",
    "Operation",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Silu",
    "Softmax",
    "Softplus",
    "Tanh",
    "TensorMoments",
    "Unbounded",
    "calibrate",
    "chain",
    "network_of",
    "network_of_onnx",
    "weights_of_onnx",
]

_LAZY = {
    "calibrate": "calibration",
    "network_of": "from_torch",
    "network_of_onnx": "from_onnx",
    "weights_of_onnx": "from_onnx",
}
"""What needs torch or onnx is loaded when it is first used."""


def __getattr__(name: str) -> Any:
    """Load what needs torch or onnx. Errors: ExtraMissing when that is not installed."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
