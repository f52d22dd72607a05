"""Functions of each value as ONNX has them. No onnx is imported here."""

from collections.abc import Callable

import numpy as np

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
from ellq_client.networks.onnx_calls import Call


def _clip(call: Call) -> Activation:
    bounds = [
        float(found.array.reshape(())) if (found := call.constant(place)) is not None else call.attributes.get(name)
        for place, name in ((1, "min"), (2, "max"))
    ]
    least, largest = bounds
    if least is None or largest is None:
        call.require(least == 0, "with one bound")
        return Relu()
    return Clip(least, largest)


def _leaky_relu(call: Call) -> Activation:
    slope = call.attributes.get("alpha", float(np.float32(0.01)))
    call.require(0 <= slope <= 1, f"with slope {slope}")
    return LeakyRelu(slope)


def _elu(call: Call) -> Activation:
    alpha = call.attributes.get("alpha", 1.0)
    call.require(0 < alpha <= 1, f"with alpha {alpha}")
    return Elu(alpha)


def _hard_sigmoid(call: Call) -> Activation:
    slope, shift = call.attributes.get("alpha", 0.2), call.attributes.get("beta", 0.5)
    call.require(np.float32(slope) == np.float32(1 / 6) and shift == 0.5, f"with slope {slope} and shift {shift}")
    return HardSigmoid()


def _dropout(call: Call) -> Activation:
    training = call.constant(2)
    call.require(training is None or not training.array.any(), "that is always on")
    return Identity()


def _swish(call: Call) -> Activation:
    call.require(call.attributes.get("alpha", 1.0) == 1, "with alpha")
    return Silu()


ACTIVATIONS: dict[str, Callable[[Call], Activation]] = {
    "Identity": lambda _: Identity(),
    "Dropout": _dropout,
    "Relu": lambda _: Relu(),
    "LeakyRelu": _leaky_relu,
    "Clip": _clip,
    "Sigmoid": lambda _: Sigmoid(),
    "Tanh": lambda _: Tanh(),
    "Gelu": lambda call: GeluTanh() if call.attributes.get("approximate", "none") == "tanh" else Gelu(),
    "Swish": _swish,
    "Elu": _elu,
    "Softplus": lambda _: Softplus(),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _: HardSwish(),
}
"""Functions of each value, by ONNX's names."""
