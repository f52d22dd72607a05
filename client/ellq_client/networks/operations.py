"""What one step of a network does, as plain values with the fields of the contract. The server checks how they fit together.

Shapes leave out the batch axis; the channels of images and sequences are axis 0. Tensors are named as in the file of weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

from ellq_client.networks.activations import Activation

Sizes: TypeAlias = int | tuple[int, ...]
"""One entry for each spatial axis, or a single one for all. Kept as a tuple; () is the default of the contract."""

Numbers: TypeAlias = float | tuple[float, ...]
"""One entry for each channel, or a single one for all. Kept as a tuple; () is the default of the contract."""


@dataclass(frozen=True, init=False)
class Input:
    """The input of the network: `Input(1, 28, 28)`."""

    kind: ClassVar[str] = "input"
    shape: tuple[int, ...]

    def __init__(self, *shape: int) -> None:
        object.__setattr__(self, "shape", shape)


@dataclass(frozen=True)
class Linear:
    """y = W x + b on a vector. W is the tensor (out, in), or (in, out) when `transposed`."""

    kind: ClassVar[str] = "linear"
    weight: str
    bias: str | None = None
    transposed: bool = False


@dataclass(frozen=True)
class Conv:
    """A convolution with zero padding on (channels, length) or (channels, height, width), as frameworks compute it.

    The tensor is (out, in / groups, kernel...). Padding has one entry for each axis, or (begin, end) of every axis.
    """

    kind: ClassVar[str] = "conv"
    weight: str
    bias: str | None = None
    stride: Sizes = ()
    padding: Sizes = ()
    dilation: Sizes = ()
    groups: int = 1

    def __post_init__(self) -> None:
        _keep_tuples(self, "stride", "padding", "dilation")


@dataclass(frozen=True)
class Add:
    """The sum of equally shaped values of two nodes or more."""

    kind: ClassVar[str] = "add"


@dataclass(frozen=True)
class Concat:
    """Values of two nodes or more, one after the other along axis 0."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True)
class MaxPool:
    """The largest value of each window; padding never wins. Stride () is the kernel; padding as in Conv."""

    kind: ClassVar[str] = "pool"
    function: ClassVar[str] = "max"
    kernel: Sizes
    stride: Sizes = ()
    padding: Sizes = ()

    def __post_init__(self) -> None:
        _keep_tuples(self, "kernel", "stride", "padding")


@dataclass(frozen=True)
class MeanPool:
    """The mean over each whole window, in which padding counts as zeros. Stride () is the kernel; padding as in Conv."""

    kind: ClassVar[str] = "pool"
    function: ClassVar[str] = "mean"
    kernel: Sizes
    stride: Sizes = ()
    padding: Sizes = ()

    def __post_init__(self) -> None:
        _keep_tuples(self, "kernel", "stride", "padding")


@dataclass(frozen=True)
class GlobalMean:
    """The mean over all axes but the channels: (channels, ...) to (channels)."""

    kind: ClassVar[str] = "global_mean"


@dataclass(frozen=True, init=False)
class Reshape:
    """The same values in another shape, row-major: `Reshape(16, 5, 5)`. Without sizes, `Reshape()` flattens."""

    kind: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def __init__(self, *shape: int) -> None:
        object.__setattr__(self, "shape", shape)


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """(x - mean) / sqrt(variance + epsilon) weight + bias, channel by channel. All but epsilon are names of tensors."""

    kind: ClassVar[str] = "batch_norm"
    mean: str
    variance: str
    epsilon: float
    weight: str | None = None
    bias: str | None = None


@dataclass(frozen=True, kw_only=True)
class Affine:
    """scale x + shift, channel by channel."""

    kind: ClassVar[str] = "affine"
    scale: Numbers = ()
    shift: Numbers = ()

    def __post_init__(self) -> None:
        _keep_tuples(self, "scale", "shift")


@dataclass(frozen=True)
class Softmax:
    """exp(x_i) / sum_j exp(x_j) on a vector."""

    kind: ClassVar[str] = "softmax"


@dataclass(frozen=True)
class Unbounded:
    """A step that no bound is known for, such as layer norm: certificates end here. `what` tells people what it is."""

    kind: ClassVar[str] = "unbounded"
    what: str


Operation: TypeAlias = (
    Input
    | Linear
    | Conv
    | Activation
    | Add
    | Concat
    | MaxPool
    | MeanPool
    | GlobalMean
    | Reshape
    | BatchNorm
    | Affine
    | Softmax
    | Unbounded
)


def _keep_tuples(operation: object, *names: str) -> None:
    for name in names:
        given: Any = getattr(operation, name)
        object.__setattr__(operation, name, tuple(cast("Iterable[Any]", given)) if isinstance(given, Iterable) else (given,))
