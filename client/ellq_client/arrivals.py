"""Tensors of an answer that have been reported, but not all of which has arrived."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

from ellq.v1 import compression_pb2 as pb
from ellq_client.contract import expect
from ellq_client.deliveries import ArrivingTensor
from ellq_client.mirror import check_numbers, enum_word, mirror_field
from ellq_client.rules import rule_from_proto
from ellq_client.values import (
    Allocation,
    Bound,
    Certificate,
    Distribution,
    Measurement,
    NeuronReports,
    Payload,
    TensorPlan,
    TensorReport,
    Weighed,
)

_TREATMENT = pb.DESCRIPTOR.enum_types_by_name["Treatment"]
_REASON = pb.DESCRIPTOR.enum_types_by_name["PassThroughReason"]


@dataclass
class UnfinishedTensor:
    """A tensor whose report has come, but not all that follows it."""

    plan: TensorPlan
    report: pb.TensorReport
    neurons: bool
    bytes: ArrivingTensor | None
    """None: no bytes of it come; the server has written them elsewhere, or it was only measured."""
    neurons_missing: int = field(init=False)
    _columns: dict[str, list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        measured = self.report.HasField("measurement")
        expect(measured == (self.report.treatment == pb.TREATMENT_COMPRESS), f"measurement of {self.plan.name!r}")
        if measured:
            self._check_size(self.report.measurement)
        self.neurons_missing = self.plan.neurons if self.neurons and measured else 0
        self._columns = {name: [] for name in ("sparsity_index", "pq_index", "kept", "tail_l1", "tail_l2")}

    @property
    def complete(self) -> bool:
        """Whether all that belongs to the tensor is here."""
        return not self.neurons_missing and (self.bytes is None or self.bytes.complete)

    def take_neurons(self, frame: pb.NeuronReports) -> None:
        """Append one frame; without a rule the lists that need one are empty."""
        come = len(self._columns["sparsity_index"])
        count = len(frame.sparsity_index)
        expect(frame.first_neuron == come and 0 < count <= self.neurons_missing, f"neurons of {self.plan.name!r} out of order")
        for name, column in self._columns.items():
            entries = getattr(frame, name)
            needed = count if name in ("sparsity_index", "pq_index") or self.report.HasField("allocation") else 0
            expect(len(entries) == needed, f"{len(entries)} entries of {name} for {needed} neurons of {self.plan.name!r}")
            check_numbers(entries, f"{name} of neurons of {self.plan.name!r}")
            column.extend(entries)
        self.neurons_missing -= count

    def _check_size(self, found: pb.Measurement) -> None:
        """Hold a measurement against the plan, whose neurons are those of the shape: memory is taken by them."""
        plan, got = self.plan, (found.neurons, found.fan_in, found.weights)
        planned = (plan.neurons, plan.fan_in, plan.neurons * plan.fan_in)
        what = f"neurons, fan-in and weights of {plan.name!r}"
        expect(got == planned, f"{what} are {got} in its report, {planned} in its plan")

    def value(self) -> TensorReport:
        """Return the finished report."""
        report, plan = self.report, self.plan
        measured = report.HasField("measurement")
        return TensorReport(
            tensor=plan.tensor,
            name=plan.name,
            dtype=plan.dtype,
            shape=plan.shape,
            neuron_axis=plan.neuron_axis if measured else (),
            rule=plan.rule if measured else None,
            treatment=enum_word(_TREATMENT, report.treatment) or "unspecified",
            reason=enum_word(_REASON, report.reason),
            measurement=mirror_field(Measurement, report, "measurement"),
            distribution=mirror_field(Distribution, report, "distribution"),
            allocation=mirror_field(Allocation, report, "allocation"),
            bound=mirror_field(Bound, report, "bound"),
            certificate=mirror_field(Certificate, report, "certificate"),
            weighed=mirror_field(Weighed, report, "weighed"),
            payload=mirror_field(Payload, report, "payload"),
            neurons=NeuronReports(**{name: tuple(column) for name, column in self._columns.items()})
            if self.neurons and measured
            else None,
        )


def read_plan(plan: pb.TensorPlan) -> TensorPlan:
    """Return the value of a plan. Errors: ProtocolError where its neurons are not those of its shape."""
    weights = prod(plan.shape) if plan.treatment == pb.TREATMENT_COMPRESS else 0
    fits = max(plan.neurons, plan.fan_in) <= weights == plan.neurons * plan.fan_in
    told = f"{plan.neurons} neurons of {plan.fan_in} weights"
    expect(fits, f"the plan of {plan.name!r} has {told}, of {weights} to be compressed")
    expect(len(plan.neuron_axis) <= len(plan.shape), f"the plan of {plan.name!r} has more axes of neurons than axes")
    return TensorPlan(
        tensor=plan.tensor,
        name=plan.name,
        dtype=plan.dtype,
        shape=tuple(plan.shape),
        treatment=enum_word(_TREATMENT, plan.treatment) or "unspecified",
        reason=enum_word(_REASON, plan.reason),
        neurons=plan.neurons,
        fan_in=plan.fan_in,
        neuron_axis=tuple(plan.neuron_axis),
        rule=rule_from_proto(plan.rule) if plan.HasField("rule") else None,
    )
