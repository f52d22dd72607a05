"""The steps of a network, as plain values. Shapes leave out the batch axis; channels are axis 0.

A graph of them is checked and put in order by topology.py: nothing here is.
"""

from dataclasses import dataclass
from enum import Enum


class ActivationKind(Enum):
    """Functions of each value, with the names of the contract. `parameters` of Activation are given in parentheses."""

    IDENTITY = "identity"
    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    """(slope below zero, in [0, 1])."""
    CLIP = "clip"
    """(least, largest)."""
    SIGMOID = "sigmoid"
    TANH = "tanh"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    SILU = "silu"
    ELU = "elu"
    """(alpha, in (0, 1])."""
    SOFTPLUS = "softplus"
    HARD_SIGMOID = "hard_sigmoid"
    HARD_SWISH = "hard_swish"


class PoolKind(Enum):
    """What a pool takes of each window."""

    MAX = "max"
    MEAN = "mean"


@dataclass(frozen=True)
class Input:
    """The input of the network."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """y = W x + b on a vector."""

    weight: str
    """Tensor (out, in), or (in, out) when transposed."""
    bias: str | None = None
    transposed: bool = False


@dataclass(frozen=True)
class Conv:
    """Cross-correlation with zero padding on (channels, length) or (channels, height, width).

    After topology.py has checked it, stride and dilation have one entry for each spatial axis and padding has (begin, end) of
    each axis; before, they may be shorter, as the contract allows.
    """

    weight: str
    """Tensor (out, in / groups, kernel...)."""
    bias: str | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1


@dataclass(frozen=True)
class Activation:
    """A function of each value."""

    kind: ActivationKind
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class Add:
    """The sum of equally shaped values."""


@dataclass(frozen=True)
class Concat:
    """Values one after the other along axis 0."""


@dataclass(frozen=True)
class Pool:
    """Largest or mean value of each window; padding of a mean counts as zeros. Lists as in Conv; stride () is the kernel."""

    kind: PoolKind
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()


@dataclass(frozen=True)
class GlobalMean:
    """The mean over all axes but the channels."""


@dataclass(frozen=True)
class Reshape:
    """The same values in another shape, row-major; () is one axis."""

    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class BatchNorm:
    """(x - mean) / sqrt(variance + epsilon) weight + bias, by channel. All are names of tensors."""

    mean: str
    variance: str
    epsilon: float
    weight: str | None = None
    bias: str | None = None


@dataclass(frozen=True)
class Affine:
    """scale x + shift by channel; one entry is for all channels, none is 1 and 0."""

    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()


@dataclass(frozen=True)
class Softmax:
    """Softmax of a vector."""


@dataclass(frozen=True)
class Unbounded:
    """A step that no bound is known for."""

    what: str


Operation = (
    Input | Linear | Conv | Activation | Add | Concat | Pool | GlobalMean | Reshape | BatchNorm | Affine | Softmax | Unbounded
)


@dataclass(frozen=True)
class Node:
    """One step: a name, the names of the nodes it takes, and what it does with them."""

    name: str
    inputs: tuple[str, ...]
    operation: Operation


@dataclass(frozen=True)
class Topology:
    """All nodes, in any order."""

    nodes: tuple[Node, ...]
    output: str = ""
    """Empty: the one node that no other takes."""
