"""What is certified of a network, as messages."""

from collections.abc import Iterator
from typing import Any

from ellq.v1 import compression_pb2 as pb
from ellq_math.network.findings import Ending, GradeCertificate, LayerEffect
from ellq_math.rules import ErrorBudget
from ellq_server.call import Absence
from ellq_server.held import NetworkReply
from ellq_server.refusals import shorten
from ellq_server.sketched_budgets import SketchedReply

MOST_OUTPUT_ERRORS = 1000
"""Errors of single outputs that travel; beyond, only the largest and the norm do."""

MOST_ENDINGS = 100

LAYERS_BYTES = 3 << 18
"""Bytes of all effects of layers: three quarters of what the message may have."""

LONGEST_NAME = 200


def network_to_wire(found: NetworkReply | SketchedReply | Absence) -> pb.NetworkCertificate:
    """Return the certificate of a network, or why there is none, as a message."""
    if isinstance(found, Absence):
        return pb.NetworkCertificate(absence=_value(pb.NetworkCertificateAbsence, found.value))
    if isinstance(found, SketchedReply):
        return pb.NetworkCertificate(absence=pb.NETWORK_CERTIFICATE_ABSENCE_TOO_LARGE, budget=_spent(found, found.budget))
    findings = found.findings
    layers = list(_that_fit(_effect(effect) for effect in findings.layers))
    wire = pb.NetworkCertificate(
        node=findings.node,
        reaches_output=findings.reaches_output,
        endings=[_ending(ending) for ending in findings.endings[:MOST_ENDINGS]],
        grades=[_grade(certificate) for certificate in findings.grades],
        layers=layers,
        layers_left_out=len(findings.layers) - len(layers),
    )
    if findings.tightest is None:
        missing = pb.NETWORK_CERTIFICATE_ABSENCE_UNBOUNDED
        wire.absence = missing if findings.endings else pb.NETWORK_CERTIFICATE_ABSENCE_NO_INPUTS
    else:
        wire.tightest = _value(pb.Grade, findings.tightest.value)
    if found.budget is not None:
        wire.budget.CopyFrom(_spent(found, found.budget))
    return wire


def _spent(found: NetworkReply | SketchedReply, budget: ErrorBudget) -> pb.BudgetSpent:
    allowed, certified = budget.max_error, found.certified_error
    unused = None if allowed is None else allowed - certified
    return pb.BudgetSpent(
        max_error=allowed,
        cost=found.cost,
        certified_error=certified,
        unused=unused,
        grade=_value(pb.Grade, budget.grade.value),
    )


def _that_fit(layers: Iterator[pb.LayerEffect]) -> Iterator[pb.LayerEffect]:
    """Yield the first messages, as many as fit."""
    room = LAYERS_BYTES
    for layer in layers:
        room -= layer.ByteSize()
        if room < 0:
            return
        yield layer


def _ending(ending: Ending) -> pb.Ending:
    reason = _value(pb.EndingReason, ending.reason.value)
    return pb.Ending(node=ending.node, reason=reason, text=shorten(ending.text, 2 * LONGEST_NAME))


def _grade(certificate: GradeCertificate) -> pb.GradeCertificate:
    errors = certificate.output_errors
    return pb.GradeCertificate(
        grade=_value(pb.Grade, certificate.grade.value),
        node=certificate.node,
        output_error_max=certificate.output_error_max,
        output_error_l2=certificate.output_error_l2,
        output_errors=errors.tolist() if len(errors) <= MOST_OUTPUT_ERRORS else [],
        unchanged_share=certificate.unchanged_share,
        operator_norm_product=certificate.operator_norm_product,
    )


def _effect(effect: LayerEffect) -> pb.LayerEffect:
    return pb.LayerEffect(
        node=effect.node,
        tensor=effect.tensor,
        grade=_value(pb.Grade, effect.grade.value),
        own_error_max=effect.own_error_max,
        own_error_l2=effect.own_error_l2,
        error_max=effect.error_max,
        error_l2=effect.error_l2,
    )


def _value(enum: Any, word: str) -> Any:
    """Return the enum value whose name ends in the math's word."""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return enum.Value(f"{prefix}{word.upper()}")
