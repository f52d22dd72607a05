"""What passes from step to step while a tensor is worked on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ellq_kernels.contract import Kernels, Weights
from ellq_math.certificates import LayerCertificate, NeuronCertificate, SquaredNorm
from ellq_math.distributions import Distribution
from ellq_math.network.knowledge import Knowledge, Moments
from ellq_math.network.topology import Graph
from ellq_math.values import Counts, Cut, RowStatistics, Tails
from ellq_server.planning import Plan, Reason
from ellq_server.requests import Request
from ellq_server.stopwatch import Stopwatch
from ellq_server.widening import ScaleStore


@dataclass(frozen=True)
class Workbench:
    """What every step needs."""

    kernels: Kernels
    request: Request
    orders: tuple[float, ...]
    """Orders of all power sums that indices, bounds and rules of this call need."""
    stopwatch: Stopwatch
    graph: Graph | None = None
    """How the tensors make up a network. None: nobody told, or the payload is too large to hold."""
    moments: Mapping[str, Moments] = field(default_factory=dict[str, Moments])
    """By tensor, held against the tensors."""
    scales: ScaleStore = field(default_factory=ScaleStore)
    """What 8-bit weights are to be multiplied by, as far as it came."""

    @property
    def knowledge(self) -> Knowledge:
        """All that is known of the inputs of the network."""
        network = self.request.network
        return network.knowledge(self.moments) if network else Knowledge(moments=self.moments)

    def moments_of(self, plan: Plan) -> Moments | None:
        """Return what is known of the inputs of a tensor."""
        return self.moments.get(plan.entry.name)

    def needs_original(self, plan: Plan) -> bool:
        """Return whether a tensor's weights are needed again after they were changed."""
        in_network = self.graph is not None and plan.entry.name in self.graph.tensors
        return in_network or self.moments_of(plan) is not None


@dataclass(frozen=True)
class Magnitudes:
    """What selection works on, in the kernels' hands: the weights themselves, or their keys |w_j| s_j."""

    handle: Any
    """Weights; None once nobody needs them any more."""
    neurons: RowStatistics
    layer: RowStatistics
    """All neurons as one row."""


@dataclass(frozen=True)
class Measured:
    """A compressible tensor in the kernels' hands, and its statistics."""

    plan: Plan
    weights: Any
    """Weights; None once nobody needs them any more."""
    neurons: RowStatistics
    layer: RowStatistics
    """All neurons as one row."""
    distribution: Distribution | None
    weighed: Magnitudes | None
    """None: selection works on the weights."""
    original: bytes | None
    """The weights as they came to the kernels, in neuron-major order; None where nothing needs them again."""
    stored: memoryview | None = None
    """The bytes as they came, of weights that were widened, until nobody needs them any more; None for all others."""

    @property
    def selected(self) -> Magnitudes:
        """What selection works on."""
        return self.weighed or Magnitudes(self.weights, self.neurons, self.layer)

    def without_weights(self) -> "Measured":
        """Return the statistics alone: the memory of the weights is free for the next tensor."""
        weighed = self.weighed and replace(self.weighed, handle=None)
        return replace(self, weights=None, weighed=weighed, original=None, stored=None)


@dataclass(frozen=True)
class Choice:
    """What a rule decided for a tensor."""

    cut: Cut
    kept_floor: Counts | None = None
    """Of each neuron, or of the layer as one row. Shape: (rows,)."""
    kept_within: int | None = None
    keys: Weights | None = None
    """What the cut goes by; None: the magnitudes of the weights."""


@dataclass(frozen=True)
class Dead:
    """What nothing uses any more."""

    neurons: int
    weights: int
    """Non-zero weights that went with them."""


@dataclass(frozen=True)
class Changed:
    """A tensor whose weights have been changed in place."""

    measured: Measured
    kept: Counts
    """(neurons,) int64: weights that the rule keeps, zeros among them included."""
    tails: Tails
    """Of all that changed."""
    choice: Choice | None
    """None where values were replaced, not cut."""
    dead: Dead | None = None
    """None: not asked for."""


@dataclass(frozen=True)
class Bound:
    """What was proved of the tails before looking at them: the largest over the neurons, rounded up."""

    tail_l1_max: float
    tail_l2_max: float


@dataclass(frozen=True)
class MeanSquare:
    """What the change does to the neurons' sums under the moments, as root mean squares. Rounded up."""

    largest: float
    """Of any neuron."""
    l2: float
    """Of their vector."""


@dataclass(frozen=True)
class Proof:
    """What is known of a changed tensor."""

    changed: Changed
    neurons: NeuronCertificate
    layer: LayerCertificate
    bound: Bound | None
    """None where Stechkin's theorem does not apply."""
    mean_square: MeanSquare | None
    """None without moments."""
    cut_norm: SquaredNorm
    whole_norm: SquaredNorm
    """Of the weights as they came."""


@dataclass(frozen=True)
class Outcome:
    """What became of one tensor."""

    plan: Plan
    reason: Reason | None
    measured: Measured | None = None
    proof: Proof | None = None
    payload: memoryview | None = None
