"""Functions of each value with a known bound, as plain values. Their formulas are those of the contract."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True)
class Identity:
    """x. Also dropout at inference."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "identity"


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "relu"


@dataclass(frozen=True)
class LeakyRelu:
    """x where x > 0, else slope x. The slope is in [0, 1]."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "leaky_relu"
    slope: float


@dataclass(frozen=True)
class Clip:
    """min(max(x, least), largest): ReLU6 is Clip(0, 6), hard tanh Clip(-1, 1)."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "clip"
    least: float
    largest: float


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class Tanh:
    """tanh(x)."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Gelu:
    """x Phi(x), Phi the distribution function of the standard Gaussian."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "gelu"


@dataclass(frozen=True)
class GeluTanh:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "gelu_tanh"


@dataclass(frozen=True)
class Silu:
    """x / (1 + exp(-x))."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "silu"


@dataclass(frozen=True)
class Elu:
    """x where x > 0, else alpha (exp(x) - 1). Alpha is in (0, 1]."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "elu"
    alpha: float


@dataclass(frozen=True)
class Softplus:
    """log(1 + exp(x))."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "softplus"


@dataclass(frozen=True)
class HardSigmoid:
    """min(max(x / 6 + 1/2, 0), 1)."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "hard_sigmoid"


@dataclass(frozen=True)
class HardSwish:
    """x min(max(x / 6 + 1/2, 0), 1)."""

    kind: ClassVar[str] = "activation"
    function: ClassVar[str] = "hard_swish"


Activation: TypeAlias = (
    Identity | Relu | LeakyRelu | Clip | Sigmoid | Tanh | Gelu | GeluTanh | Silu | Elu | Softplus | HardSigmoid | HardSwish
)
