"""Values say everything that messages say."""

import dataclasses

import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_client import InvalidRequest, ProtocolError, certificates, values
from ellq_client.mirror import enum_name, enum_word, mirror, wire_name

MIRRORED = {
    "Indices": values.Indices,
    "IndexOptions": values.IndexOrders,
    "Spread": values.Spread,
    "Measurement": values.Measurement,
    "Distribution": values.Distribution,
    "Allocation": values.Allocation,
    "Bound": values.Bound,
    "Certificate": values.Certificate,
    "Payload": values.Payload,
    "NetworkCertificate": certificates.NetworkCertificate,
    "GradeCertificate": certificates.GradeCertificate,
    "LayerEffect": certificates.LayerEffect,
    "Ending": certificates.Ending,
    "BudgetSpent": certificates.BudgetSpent,
    "Warning": values.ReportWarning,
    "Timings": values.Timings,
    "Summary": values.Summary,
    "Limits": values.Limits,
    "Device": values.Device,
    "GetCapabilitiesResponse": values.Capabilities,
    "TensorPlan": values.TensorPlan,
}
NOT_MIRRORED = {"Summary": {"sketch", "stored"}, "Payload": {"delivery"}}
"""A sketch is for the server, not for people. What was stored is no part of a report, and Compression has it. How bytes came
says nothing of what they are."""


@pytest.mark.parametrize("message", MIRRORED)
def test_no_field_of_the_contract_is_forgotten(message):
    ours = {wire_name(field.name) for field in dataclasses.fields(MIRRORED[message])}
    theirs = {field.name for field in pb.DESCRIPTOR.message_types_by_name[message].fields}
    assert ours == theirs - NOT_MIRRORED.get(message, set())


def test_reports_say_what_plan_and_report_say():
    ours = {field.name for field in dataclasses.fields(values.TensorReport)}
    plan = {field.name for field in pb.TensorPlan.DESCRIPTOR.fields} - {"neurons", "fan_in"}  # both are in the measurement
    assert ours == plan | {field.name for field in pb.TensorReport.DESCRIPTOR.fields} | {"neurons"}


def test_absence_is_none_and_zero_is_zero():
    assert mirror(values.Allocation, pb.Allocation(kept=3)) == values.Allocation(3, 0, None, None)
    assert mirror(values.Allocation, pb.Allocation(kept_floor=0)).kept_floor == 0
    assert mirror(values.Summary, pb.Summary()).global_ is None


def test_bytes_are_hexadecimal_and_enums_words():
    payload = mirror(values.Payload, pb.Payload(encoding=pb.ENCODING_DENSE, length_bytes=2, sha256=b"\x01\xff"))
    assert payload == values.Payload("dense", 2, "01ff")


def test_words_and_numbers_of_enums():
    reason = pb.DESCRIPTOR.enum_types_by_name["PassThroughReason"]
    assert enum_word(reason, 0) is None
    assert enum_word(reason, pb.PASS_THROUGH_REASON_NAME) == "name"
    assert enum_word(reason, 4711) == "4711"
    assert enum_name(reason, "name") == "PASS_THROUGH_REASON_NAME"
    with pytest.raises(InvalidRequest, match="'nome' is not one of dtype, dimensions"):
        enum_name(reason, "nome")


def test_a_short_repr_says_what_matters():
    indices, spread = values.Indices(1.5, 0.25), values.Spread(1, 1, 1)
    measured = values.Measurement(2, 3, 6, 0, indices, spread, spread, 1.0, 1.0, 1.0, 0.0)
    report = values.TensorReport(
        0, "w", "F32", (2, 3), (0,), None, "compress", None, measured, None, values.Allocation(4, 2, None, None), None,
        values.Certificate(1, 1, 1, 0.12341),
    )  # fmt: skip
    text = "TensorReport('w', F32[2, 3], sparsity_index=1.5, pq_index=0.25, kept=4 of 6, frobenius_ratio<=0.1235)"
    assert repr(report) == text
    assert report.pruned_ratio == 2 / 6
    untouched = values.TensorReport(0, "b", "F32", (2,), (), None, "pass_through", "dimensions")
    assert repr(untouched) == "TensorReport('b', F32[2], passes through: dimensions)"
    assert untouched.pruned_ratio is None


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_what_the_contract_has_no_number_for_is_a_broken_contract(number):
    with pytest.raises(ProtocolError, match=r"ellq\.v1\.Spread\.mean is (nan|-inf)"):
        mirror(values.Spread, pb.Spread(min=1.0, mean=number, max=2.0))
    assert mirror(values.Spread, pb.Spread(mean=float("inf"))).mean == float("inf")
