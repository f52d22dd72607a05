"""What a call returns: frozen mirrors of the contract's messages, where every field is documented at length.

Counts are weights, norms and indices are plain floats (infinity where a double does not reach), digests are hexadecimal text.
None means what absence means in the contract.
"""

from dataclasses import dataclass, field

from ellq_client.certificates import NetworkCertificate, upper
from ellq_client.counting import counted
from ellq_client.rules import Rule


@dataclass(frozen=True, slots=True)
class Indices:
    """SI_q and PQI of one population, for the orders in IndexOrders."""

    sparsity_index: float
    pq_index: float


@dataclass(frozen=True, slots=True)
class IndexOrders:
    """The orders of the indices: SI_q and PQI_{pq_p, pq_q}."""

    q: float
    pq_p: float
    pq_q: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, mean and largest over the neurons of a tensor."""

    min: float
    mean: float
    max: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """The weights as they came."""

    neurons: int
    fan_in: int
    weights: int
    zeros: int
    layer: Indices
    neuron_sparsity_index: Spread
    neuron_pq_index: Spread
    max_magnitude: float
    l1: float
    l2: float
    hoyer: float


@dataclass(frozen=True, slots=True)
class Weighed:
    """Indices of |w_j| s_j, on which selection worked; s_j is the root of the second moment of input j."""

    layer: Indices
    neuron_sparsity_index: Spread
    neuron_pq_index: Spread


@dataclass(frozen=True, slots=True)
class Distribution:
    """How the weights of a tensor are distributed, all of them as one row."""

    gini: float
    excess_kurtosis: float | None
    tail_index: float | None
    tail_curve: tuple[float, ...]
    spectral_norm_bound: float
    stable_rank_floor: float


@dataclass(frozen=True, slots=True)
class Allocation:
    """How many weights the rule keeps. `kept_floor` is a necessary count and NO guarantee."""

    kept: int
    zeros: int
    kept_floor: int | None
    kept_within: int | None
    dead_neurons: int | None = None
    """Neurons that went because nothing uses them any more; None: not asked for."""
    dead_weights: int | None = None
    """Non-zero weights that went with them: `kept` counts before, `zeros` after."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Proved before the tail was looked at; rounded up."""

    tail_l1_max: float
    tail_l2_max: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """Measured on the very weights that are sent; rounded up."""

    tail_l1_max: float
    tail_l2_max: float
    frobenius: float
    frobenius_ratio: float
    mean_square_max: float | None = None
    """Largest root mean square by which any neuron's sum moves under the moments; None: no moments."""
    mean_square_l2: float | None = None
    """Root of the sum of their squares."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What became of one tensor's bytes."""

    encoding: str
    length_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class NeuronReports:
    """What was measured neuron by neuron; the last three are empty without a rule."""

    sparsity_index: tuple[float, ...]
    pq_index: tuple[float, ...]
    kept: tuple[int, ...]
    tail_l1: tuple[float, ...]
    tail_l2: tuple[float, ...]

    def __repr__(self) -> str:
        return f"NeuronReports({counted(len(self.sparsity_index), 'neuron')})"


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """What will be done to a tensor, before it is."""

    tensor: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    treatment: str
    reason: str | None
    neurons: int
    fan_in: int
    neuron_axis: tuple[int, ...]
    rule: Rule | None


@dataclass(frozen=True, slots=True)
class TensorReport:
    """One tensor: what it is, what was measured, and what became of it."""

    tensor: int
    """Position in offset order, from 0."""
    name: str
    dtype: str
    """As safetensors writes it, such as "BF16"."""
    shape: tuple[int, ...]
    neuron_axis: tuple[int, ...]
    """The axes that number the neurons; empty for a tensor that passes through."""
    rule: Rule | None
    """The override rule of this tensor; None: the rule of the request."""
    treatment: str
    """"compress" or "pass_through"."""
    reason: str | None
    """Why it passes through: "dtype", "dimensions", "empty", "name", "excluded", "skipped", "nonfinite", "quantized", "scale"
    or "scale_unusable"."""
    measurement: Measurement | None = None
    distribution: Distribution | None = None
    allocation: Allocation | None = None
    bound: Bound | None = None
    certificate: Certificate | None = None
    payload: Payload | None = None
    neurons: NeuronReports | None = field(default=None, repr=False)
    weighed: Weighed | None = field(default=None, repr=False)
    """None: selection worked on the weights as they are."""

    @property
    def pruned_ratio(self) -> float | None:
        """Share of the weights that are zero after the cut; None without a rule or for a tensor that passes through."""
        if self.measurement is None or self.allocation is None:
            return None
        return self.allocation.zeros / self.measurement.weights

    def __repr__(self) -> str:
        parts = [f"{self.name!r}", f"{self.dtype}{list(self.shape)}"]
        if self.measurement is None:
            parts.append(f"passes through: {self.reason}")
        else:
            layer = self.measurement.layer
            parts.append(f"sparsity_index={layer.sparsity_index:.4g}, pq_index={layer.pq_index:.4g}")
        if self.allocation is not None and self.measurement is not None:
            parts.append(f"kept={self.allocation.kept} of {self.measurement.weights}")
        if self.certificate is not None:
            parts.append(f"frobenius_ratio<={upper(self.certificate.frobenius_ratio)}")
        return f"TensorReport({', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class ReportWarning:
    """Something to know that is no error."""

    code: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a call went, on the server."""

    total_seconds: float
    receive_seconds: float
    compute_seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of a call."""

    tensors: int
    compressible_tensors: int
    weights: int
    zeros_before: int
    zeros_after: int | None
    kept: int | None
    global_: Indices | None
    """Indices of all compressible tensors as one row."""
    frobenius: float | None
    frobenius_ratio: float | None
    network: NetworkCertificate | None
    warnings: tuple[ReportWarning, ...] = field(repr=False)
    timings: Timings | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that the server wrote."""

    uri: str
    length_bytes: int
    sha256: str
    """Of all its bytes, in hexadecimal."""
    etag: str
    """What its store calls this version of it; empty for files."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server refuses, however often it is tried."""

    header_bytes: int
    tensors: int
    tensor_bytes: int
    payload_bytes: int
    pooled_payload_bytes: int
    concurrent_calls: int
    moments_bytes: int
    network_work: int
    """Work of the certificates of a network, in multiply-adds."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where a server computes."""

    kind: str
    kernels: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server can do and what it refuses."""

    version: str
    limits: Limits
    device: Device
    dtypes: tuple[str, ...]
    rules: tuple[str, ...]
    scopes: tuple[str, ...]
    encodings: tuple[str, ...]
    source_schemes: tuple[str, ...]
    """Schemes of URIs some of which it reads."""
    output_schemes: tuple[str, ...]
    """Schemes of URIs some of which it writes."""
    deliveries: tuple[str, ...]
    """How it can send compressed weights back: "whole", or as a "mask" to those who have the originals."""
