"""The options frame, checked once and turned into values that the rest of the server can trust."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from ellq.v1 import compression_pb2 as pb
from ellq_math.grades import Grade
from ellq_math.rules import ErrorBudget, IndexOrders, LqBound, PqIndex, SparsityIndex
from ellq_server.moments import NO_MOMENTS, ReceivedMoments, digest_of
from ellq_server.networks import Network, network_from_wire
from ellq_server.refusals import InvalidRequest
from ellq_server.scoped_rules import Scope, ScopedRule, parameters_of, rule_from_wire, unknown_enum, unsketchable
from ellq_server.selections import Selection, selection_from_wire
from ellq_server.sketches import Sketch, invalid_sketch, sketch_from_wire, sketch_orders

DELIVERIES = (pb.DELIVERY_UNSPECIFIED, pb.DELIVERY_WHOLE, pb.DELIVERY_MASK)
"""What may be asked for."""


@dataclass(frozen=True)
class Request:
    """What a call asks for."""

    selection: Selection
    indices: IndexOrders
    rule: ScopedRule | None
    pass_nonfinite: bool
    ignore_zeros: bool
    neuron_reports: bool
    distribution: bool
    sends_weights: bool
    """Compress, not Analyze."""
    masks: bool
    """The caller has the bytes that it sent, and takes masks for what became of them."""
    plans_only: bool
    """Stop behind the plans."""
    builds_sketch: bool
    sketch: Sketch | None
    """The pass before (Analyze) or the final one (Compress)."""
    options_sha256: bytes
    """What a sketch is bound to."""
    network: Network | None
    moments: Mapping[str, ReceivedMoments]
    """By tensor."""
    magnitudes_only: bool
    remove_dead_neurons: bool

    @property
    def weighs(self) -> bool:
        """Whether selection works on |w_j| s_j where a tensor has moments."""
        return bool(self.moments) and not self.magnitudes_only

    @property
    def needs_network(self) -> bool:
        """Whether weights are cut by what the network does, so that the call makes no sense without it."""
        return self.remove_dead_neurons or (self.spends_budget and self.sketch is None)

    @property
    def spends_budget(self) -> bool:
        """Whether the rule is an error budget."""
        return self.rule is not None and isinstance(self.rule.rule, ErrorBudget)

    @property
    def walks_back(self) -> bool:
        """Whether this is the first pass over an error budget, which carries sensitivities along."""
        return self.spends_budget and self.builds_sketch and self.sketch is None


Received = Mapping[str, ReceivedMoments]


def read_analyze(options: pb.AnalyzeOptions, moments: Received = NO_MOMENTS) -> Request:
    """Return the checked options of Analyze. Errors: InvalidRequest with the field path."""
    builds_sketch = options.HasField("sketch")
    previous = options.sketch.previous if builds_sketch and options.sketch.HasField("previous") else None
    return _read(
        options,
        moments,
        previous,
        sends_weights=False,
        masks=False,
        plans_only=options.plans_only,
        distribution=options.distribution,
        builds_sketch=builds_sketch,
    )


def read_compress(options: pb.CompressOptions, moments: Received = NO_MOMENTS) -> Request:
    """Return the checked options of Compress. Errors: InvalidRequest with the field path."""
    if not options.HasField("rule"):
        raise InvalidRequest("options.rule is missing: Compress needs a rule", reason="INVALID_RULE", field="options.rule")
    if options.encoding not in (pb.ENCODING_UNSPECIFIED, pb.ENCODING_DENSE):
        raise unknown_enum("options.encoding", options.encoding, "ENCODING_DENSE")
    sketch = options.sketch if options.HasField("sketch") else None
    return _read(
        options,
        moments,
        sketch,
        sends_weights=True,
        masks=_takes_masks(options),
        plans_only=False,
        distribution=False,
        builds_sketch=False,
    )


def _read(
    options: pb.AnalyzeOptions | pb.CompressOptions,
    moments: Received,
    sketch: pb.Sketch | None,
    *,
    sends_weights: bool,
    masks: bool,
    plans_only: bool,
    distribution: bool,
    builds_sketch: bool,
) -> Request:
    rule = rule_from_wire(options.rule, "options.rule") if options.HasField("rule") else None
    digest = _digest(options, moments)
    if builds_sketch and (rule is None or rule.scope is not Scope.GLOBAL):
        raise _sketch_without_rule()
    if rule is not None and (builds_sketch or sketch is not None) and (whole := unsketchable(rule.rule)):
        raise invalid_sketch(f"{whole} is for payloads that are held; no sketch carries it")
    indices = _indices(options.indices, rule)
    selection = selection_from_wire(options.selection)
    network = network_from_wire(options.network) if options.HasField("network") else None
    if options.remove_dead_neurons and network is None:
        raise InvalidRequest(
            "options.remove_dead_neurons needs options.network", reason="TOPOLOGY_REQUIRED", field="options.network"
        )
    if rule is not None and isinstance(rule.rule, ErrorBudget):
        _check_budget(rule.rule, selection, network, moments)
    return Request(
        selection=selection,
        indices=indices,
        rule=rule,
        pass_nonfinite=_passes_nonfinite(options.nonfinite),
        ignore_zeros=options.ignore_zeros,
        neuron_reports=options.neuron_reports,
        distribution=distribution,
        sends_weights=sends_weights,
        masks=masks,
        plans_only=plans_only,
        builds_sketch=builds_sketch,
        sketch=_sketch(sketch, rule, indices, digest, must_be_final=sends_weights),
        options_sha256=digest,
        network=network,
        moments=moments,
        magnitudes_only=options.magnitudes_only,
        remove_dead_neurons=options.remove_dead_neurons,
    )


def _takes_masks(options: pb.CompressOptions) -> bool:
    """Return whether masks serve the caller: not for an object that somebody else reads or writes."""
    if options.delivery not in DELIVERIES:
        raise unknown_enum("options.delivery", options.delivery, "DELIVERY_WHOLE and DELIVERY_MASK")
    return options.delivery == pb.DELIVERY_MASK and not options.source_uri and not options.output_uri


def _check_budget(rule: ErrorBudget, selection: Selection, network: Network | None, moments: Received) -> None:
    """Refuse an error budget without what it is reckoned from."""
    if network is None:
        raise InvalidRequest(
            "options.rule.error_budget needs options.network", reason="TOPOLOGY_REQUIRED", field="options.network"
        )
    if rule.grade is Grade.BOX and network.box is None:
        message = "options.rule.error_budget of GRADE_BOX needs options.network.inputs.box"
        raise InvalidRequest(message, reason="INPUTS_REQUIRED", field="options.network.inputs.box")
    if rule.grade is Grade.MEAN_SQUARE and not moments:
        message = "options.rule.error_budget of GRADE_MEAN_SQUARE needs moments, which come in frames before the data"
        raise InvalidRequest(message, reason="MOMENTS_REQUIRED", field="moments")
    for index, override in enumerate(selection.overrides):
        if override.rule is not None:
            field = f"options.selection.overrides[{index}].rule"
            message = f"{field}: beside an error budget no tensor can have a rule of its own; allowed is skip"
            raise InvalidRequest(message, reason="INVALID_OVERRIDE", field=field)


def _sketch(
    wire: pb.Sketch | None, rule: ScopedRule | None, indices: IndexOrders, digest: bytes, *, must_be_final: bool
) -> Sketch | None:
    if wire is None:
        return None
    if rule is None or rule.scope is not Scope.GLOBAL:
        raise _sketch_without_rule()
    return sketch_from_wire(wire, rule.rule, sketch_orders(indices, rule.rule), digest, must_be_final=must_be_final)


def _sketch_without_rule() -> InvalidRequest:
    return invalid_sketch("a sketch needs a rule of SCOPE_GLOBAL")


def _digest(options: pb.AnalyzeOptions | pb.CompressOptions, moments: Received) -> bytes:
    """Return the digest of the options that decide what is counted; the same for Analyze and Compress."""
    counted = pb.CompressOptions(
        selection=options.selection,
        indices=options.indices,
        rule=options.rule,
        nonfinite=options.nonfinite,
        ignore_zeros=options.ignore_zeros,
        magnitudes_only=options.magnitudes_only,
    )
    if options.HasField("network"):
        counted.network.CopyFrom(options.network)
    return hashlib.sha256(counted.SerializeToString(deterministic=True) + digest_of(moments)).digest()


def _indices(wire: pb.IndexOptions, scoped: ScopedRule | None) -> IndexOrders:
    """Fill in the defaults that the contract states."""
    rule = scoped.rule if scoped else None
    q = wire.q or (rule.q if isinstance(rule, SparsityIndex | LqBound) else 0.5)
    pq_p, pq_q = wire.pq_p, wire.pq_q
    if not pq_p and not pq_q:
        pq_p, pq_q = (rule.p, rule.q) if isinstance(rule, PqIndex) else (0.5, 1.0)
    with parameters_of("options.indices"):
        return IndexOrders(q=q, pq_p=pq_p, pq_q=pq_q)


def _passes_nonfinite(policy: int) -> bool:
    if policy not in pb.NonfinitePolicy.values():
        raise unknown_enum("options.nonfinite", policy, "NONFINITE_POLICY_REFUSE and NONFINITE_POLICY_PASS_THROUGH")
    return policy == pb.NONFINITE_POLICY_PASS_THROUGH
