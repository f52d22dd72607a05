"""Functions of each value as torch calls them.

Modules, functions and methods share one table, because torch names them alike: LeakyReLU, leaky_relu and leaky_relu_ are one
thing. No torch is imported here.
"""

from collections.abc import Callable

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
from ellq_client.networks.torch_calls import Call


def _leaky_relu(call: Call) -> LeakyRelu:
    slope = call.argument("negative_slope", 1, 0.01)
    call.require(0 <= slope <= 1, f"with slope {slope}")
    return LeakyRelu(slope)


def _elu(call: Call) -> Elu:
    alpha = call.argument("alpha", 1, 1.0)
    call.require(0 < alpha <= 1, f"with alpha {alpha}")
    return Elu(alpha)


def _softplus(call: Call) -> Softplus:
    beta, threshold = call.argument("beta", 1, 1), call.argument("threshold", 2, 20)
    call.require(beta == 1 and threshold >= 20, f"with beta {beta} and threshold {threshold}")
    return Softplus()


def _clamp(call: Call) -> Clip:
    least, largest = call.argument("min", 1), call.argument("max", 2)
    numbers = isinstance(least, int | float) and isinstance(largest, int | float)
    call.require(numbers, "without two numbers as bounds")
    return Clip(least, largest)


def _dropout(call: Call) -> Identity:
    always = call.module is None and bool(call.argument("training", 2, default=True))
    call.require(not always, "that is always on")
    return Identity()


ACTIVATIONS: dict[str, Callable[[Call], Activation]] = {
    "identity": lambda _: Identity(),
    "contiguous": lambda _: Identity(),
    "clone": lambda _: Identity(),
    "dropout": _dropout,
    "dropout1d": _dropout,
    "dropout2d": _dropout,
    "alphadropout": _dropout,
    "relu": lambda _: Relu(),
    "relu6": lambda _: Clip(0, 6),
    "leakyrelu": _leaky_relu,
    "hardtanh": lambda call: Clip(call.argument("min_val", 1, -1.0), call.argument("max_val", 2, 1.0)),
    "clamp": _clamp,
    "sigmoid": lambda _: Sigmoid(),
    "tanh": lambda _: Tanh(),
    "gelu": lambda call: GeluTanh() if call.argument("approximate", 1, "none") == "tanh" else Gelu(),
    "silu": lambda _: Silu(),
    "elu": _elu,
    "softplus": _softplus,
    "hardsigmoid": lambda _: HardSigmoid(),
    "hardswish": lambda _: HardSwish(),
}
"""Functions of each value, by torch's names in lower case without underscores."""
