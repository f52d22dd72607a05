"""What is asked of a server, as a plain value, and its messages."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NotRequired, TypedDict, get_args

from ellq.v1 import compression_pb2 as pb
from ellq_client.enclosures import AnyMoments, AnyNetwork, Enclosures, enclose
from ellq_client.errors import InvalidRequest, InvalidRule, InvalidSelection
from ellq_client.mirror import enum_name
from ellq_client.rules import ErrorBudget, Rule, rule_to_proto

Nonfinite = Literal["refuse", "pass_through"]
Encoding = Literal["dense", "packed"]

_NONFINITE = pb.DESCRIPTOR.enum_types_by_name["NonfinitePolicy"]


@dataclass(frozen=True)
class Override:
    """An exception for the tensors whose names match a glob: skip them, give them a rule, tell their layout."""

    glob: str
    _: KW_ONLY
    skip: bool = False
    rule: Rule | None = None
    neuron_axis: tuple[int, ...] = ()
    """The axes that number the neurons, such as (1,) for tensors stored (in, out). Empty: axis 0."""

    def to_proto(self) -> pb.TensorOverride:
        """Return the message. Errors: InvalidSelection for an override that the message cannot hold."""
        if self.skip and self.rule is not None:
            raise InvalidSelection(f"the override of {self.glob!r} cannot both skip and have a rule", reason="INVALID_OVERRIDE")
        try:
            message = pb.TensorOverride(glob=self.glob, neuron_axis=self.neuron_axis)
        except (TypeError, ValueError) as error:
            raise InvalidSelection(f"the override of {self.glob!r} does not fit: {error}") from error
        if self.skip:
            message.skip = True
        if self.rule is not None:
            message.rule.CopyFrom(rule_to_proto(self.rule))
        return message


class SharedOptions(TypedDict, total=False):
    """Keywords of both `analyze` and `compress`."""

    q: float
    """Order of SI_q. Default: the rule's q if it has one of its own, else 0.5."""
    pq: tuple[float, float]
    """Orders p < q of PQI. Default: those of a PqIndex rule, else (0.5, 1)."""
    include: Sequence[str]
    """Globs of tensors to take in although their names (embeddings, heads) are left alone by default."""
    exclude: Sequence[str]
    """Globs of tensors to leave untouched."""
    overrides: Sequence[Override]
    """Exceptions by name; later ones win."""
    nonfinite: Nonfinite
    """What to do with NaN or infinity in a compressible tensor. Default: refuse."""
    ignore_zeros: bool
    """Count only non-zero weights as stored, for tensors that are already pruned. Default: False."""
    neurons: bool
    """Report every neuron too. Default: False."""
    network: AnyNetwork | None
    """How the tensors make up a network and what is known of its inputs: see ellq_client.networks. Default: None, and every
    certificate speaks of its tensor alone."""
    moments: AnyMoments | None
    """Second moments of what enters the tensors, a Calibration: weights are then weighed by how large their inputs are, in the
    indices and in the choice. They promise something of the calibration's distribution alone. Default: None."""
    magnitudes_only: bool
    """Use moments for certificates alone: indices and choice go by magnitudes. Default: False."""
    remove_dead_neurons: bool
    """Cut all incoming weights of neurons that nothing uses after the cut; needs `network`. Default: False."""


class AnalyzeOptions(SharedOptions, total=False):
    """Keywords of `analyze`."""

    rule: Rule | None
    """Report what this rule would keep and certify. Default: None, indices only."""
    distribution: bool
    """Report how the weights are distributed; costs a sort of every tensor. Default: False."""


class CompressOptions(SharedOptions):
    """Keywords of `compress`."""

    rule: Rule
    """How many weights to keep. Required."""
    encoding: NotRequired[Encoding]
    """How the output is stored: "dense", with cut weights as zeros (what runtimes read), or "packed", in as few bytes as a
    lossless code needs (what `unpack` and `load_packed` read). Needs an output. Default: dense."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything that decides an answer, besides the weights."""

    rule: Rule | None = None
    q: float | None = None
    pq: tuple[float, float] | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    overrides: Sequence[Override] = ()
    nonfinite: Nonfinite = "refuse"
    ignore_zeros: bool = False
    neurons: bool = False
    distribution: bool = False
    magnitudes_only: bool = False
    remove_dead_neurons: bool = False
    encoding: Encoding = "dense"
    network_sha256: str | None = None
    """Digest of the network that was sent along; None: there was none."""
    moments_sha256: str | None = None
    """Digest of the moments that were sent along; None: there were none."""

    def __post_init__(self) -> None:
        """Refuse what the messages would carry wrongly without a word, and an encoding, which they do not carry."""
        if self.encoding not in get_args(Encoding):
            known = ", ".join(get_args(Encoding))
            raise InvalidRequest(f"encoding {self.encoding!r} is not one of {known}", field="encoding", reason="INVALID_ENUM")
        for name in ("include", "exclude", "overrides"):
            given = getattr(self, name)
            if isinstance(given, str):  # a string is a sequence of strings, too
                raise InvalidSelection(f"{name} takes a list, got the string {given!r}")
            object.__setattr__(self, name, tuple(given))
        pq_p, pq_q = self.pq or (None, None)
        for name, value in (("q", self.q), ("pq_p", pq_p), ("pq_q", pq_q)):
            if value == 0:  # which means "absent" on the wire
                raise InvalidRule("0 is out of range", field=f"indices.{name}", reason=f"INVALID_{name[-1].upper()}")

    @property
    def can_sketch(self) -> bool:
        """Whether sketches make up for a payload that one pass cannot hold; what needs all of the network needs it at once."""
        if self.rule is None or self.remove_dead_neurons:
            return False
        if isinstance(self.rule, ErrorBudget):
            measured = self.rule.measured and self.rule.max_error is not None
            return self.rule.grade == "mean_square" and not measured
        return self.rule.scope == "global"

    def analyze_options(self, sketch: pb.SketchOptions | None = None, network: pb.Network | None = None) -> pb.AnalyzeOptions:
        """Return the options of an Analyze call, which returns a sketch when `sketch` is given."""
        return pb.AnalyzeOptions(
            selection=self._selection(),
            indices=self._indices(),
            rule=None if self.rule is None else rule_to_proto(self.rule),
            nonfinite=enum_name(_NONFINITE, self.nonfinite),
            ignore_zeros=self.ignore_zeros,
            neuron_reports=self.neurons and sketch is None,
            distribution=self.distribution,
            sketch=sketch,
            network=network,
            magnitudes_only=self.magnitudes_only,
            remove_dead_neurons=self.remove_dead_neurons,
        )

    def compress_options(self, sketch: pb.Sketch | None = None, network: pb.Network | None = None) -> pb.CompressOptions:
        """Return the options of a Compress call; `sketch` is the final one of earlier passes."""
        return pb.CompressOptions(
            selection=self._selection(),
            indices=self._indices(),
            rule=None if self.rule is None else rule_to_proto(self.rule),
            nonfinite=enum_name(_NONFINITE, self.nonfinite),
            ignore_zeros=self.ignore_zeros,
            neuron_reports=self.neurons,
            encoding=pb.ENCODING_DENSE,
            delivery=pb.DELIVERY_MASK,  # the weights are here, and can be read a second time
            sketch=sketch,
            network=network,
            magnitudes_only=self.magnitudes_only,
            remove_dead_neurons=self.remove_dead_neurons,
        )

    def _selection(self) -> pb.Selection:
        return pb.Selection(
            include=self.include,
            exclude=self.exclude,
            overrides=[override.to_proto() for override in self.overrides],
        )

    def _indices(self) -> pb.IndexOptions:
        pq_p, pq_q = self.pq or (0.0, 0.0)
        return pb.IndexOptions(q=self.q or 0.0, pq_p=pq_p, pq_q=pq_q)


def read_options(
    *, network: AnyNetwork | None = None, moments: AnyMoments | None = None, **plain: Any
) -> tuple[Request, Enclosures]:
    """Return what the keywords of a client ask, and what goes along with it. Errors: EllqError, TypeError."""
    enclosures = enclose(network, moments)
    enclosures.check_margins()
    request = Request(**plain, network_sha256=enclosures.network_sha256, moments_sha256=enclosures.moments_sha256)
    return request, enclosures
