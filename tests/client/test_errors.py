"""Every refusal of the contract, and every way gRPC itself can fail, becomes an error of the drawn tree."""

import re

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.status_pb2 import Status

import ellq_client
from ellq.v1 import compression_pb2 as pb
from ellq_client import ClaimRefuted, Client, RemoteError, errors

REASONS = [name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.keys()[1:]]  # no dict


def test_every_reason_of_the_contract_is_mapped():
    assert set(errors.REASONS) == set(REASONS)


def test_every_status_is_mapped():
    assert set(errors.STATUSES) == {status.name for status in grpc.StatusCode}


def test_the_drawn_tree_is_the_tree():
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    real = {name for name, kind in vars(errors).items() if isinstance(kind, type) and kind.__module__ == errors.__name__}
    assert set(drawn) | {"EllqError"} == real == set(errors.__all__) - {"REASONS", "STATUSES"}


def test_every_error_is_public():
    assert set(errors.__all__) - {"REASONS", "STATUSES"} <= set(ellq_client.__all__)


@pytest.mark.parametrize("reason", REASONS)
def test_the_reason_decides_whatever_the_status_says(fake, refusal, checkpoint, reason, no_waiting):
    fake.refusals = [refusal(grpc.StatusCode.INTERNAL, "because", reason, "some.field")] * 4
    with Client(fake.address) as client, pytest.raises(errors.REASONS[reason], match=r"^some\.field: because$") as caught:
        client.analyze(checkpoint).result()
    assert caught.value.reason == reason
    assert caught.value.field == "some.field"
    assert type(caught.value) is errors.REASONS[reason]


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
def test_a_status_without_a_reason_is_enough(fake, refusal, checkpoint, status, no_waiting):
    fake.refusals = [refusal(status, "because")] * 4
    with Client(fake.address) as client, pytest.raises(errors.STATUSES[status.name], match="because") as caught:
        client.analyze(checkpoint).result()
    assert isinstance(caught.value, RemoteError)
    assert caught.value.reason is None
    assert caught.value.__cause__.code() is status


@pytest.mark.parametrize(
    "text",
    [
        "CLIENT: Received message larger than max (5000000 vs. 4194304)",
        "SERVER: Sent message larger than max (5 vs. 4)",
        "grpc: received message larger than max (5 vs. 4)",
        "gRPC message exceeds maximum size 4194304: 5000000",
    ],
)
def test_a_message_beyond_the_limit_of_grpc_is_not_tried_again(fake, refusal, checkpoint, text):
    fake.refusals = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, text)]
    with Client(fake.address) as client, pytest.raises(errors.MessageTooLarge, match="message"):
        client.analyze(checkpoint).result()
    assert len(fake.requests) == 1


def test_real_grpc_words_its_limit_as_expected(fake, checkpoint):
    many = [f"{number:06}{'x' * 1000}" for number in range(5000)]
    with Client(fake.address) as client, pytest.raises(errors.MessageTooLarge):
        client.analyze(checkpoint, exclude=many).result()


def test_a_server_that_does_not_answer_is_named_with_who_named_it(monkeypatch, checkpoint):
    with Client("localhost:1", max_attempts=1) as client, pytest.raises(errors.Unavailable) as caught:
        client.analyze(checkpoint).result()
    assert str(caught.value).startswith("server dns:///localhost:1 (target): ")
    monkeypatch.setenv("ELLQ_SERVER", "localhost:1")
    with Client(max_attempts=1) as client, pytest.raises(errors.Unavailable, match=r"\(ELLQ_SERVER\): "):
        client.analyze(checkpoint).result()


def test_a_message_that_names_the_field_does_not_name_it_twice():
    assert str(RemoteError("rule.q is 7", field="rule.q")) == "rule.q is 7"


def test_reasons_of_other_domains_are_not_ours(fake, refusal, checkpoint, monkeypatch):
    foreign = refusal(grpc.StatusCode.INVALID_ARGUMENT, "elsewhere", "INVALID_Q")
    trailers = foreign.trailers()[0][1].replace(b"ellq.v1", b"gate.v1")
    monkeypatch.setattr(foreign, "trailers", lambda: (("grpc-status-details-bin", trailers),))
    fake.refusals = [foreign]
    with Client(fake.address) as client, pytest.raises(errors.InvalidRequest) as caught:
        client.analyze(checkpoint).result()
    assert type(caught.value) is errors.InvalidRequest


@pytest.mark.parametrize(("trailer", "seconds"), [("2", 2.0), ("0.25", 0.25), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_a_proxy_can_say_when_to_come_back(fake, refusal, checkpoint, monkeypatch, trailer, seconds):
    busy = refusal(grpc.StatusCode.UNAVAILABLE, "busy")
    monkeypatch.setattr(busy, "trailers", lambda: (("retry-after", trailer), ("grpc-status-details-bin", b"\xff\xff")))
    fake.refusals = [busy]
    with Client(fake.address, max_attempts=1) as client, pytest.raises(errors.Unavailable) as caught:
        client.analyze(checkpoint).result()
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize("kind", ["ErrorInfo", "BadRequest", "RetryInfo"])
def test_details_that_cannot_be_read_are_none(fake, refusal, checkpoint, monkeypatch, kind):
    status = Status(code=3, details=[Any(type_url=f"type.googleapis.com/google.rpc.{kind}", value=b"\xff\xff\xff")])
    broken = refusal(grpc.StatusCode.INVALID_ARGUMENT, "no")
    monkeypatch.setattr(broken, "trailers", lambda: (("grpc-status-details-bin", status.SerializeToString()),))
    fake.refusals = [broken]
    with Client(fake.address) as client, pytest.raises(errors.InvalidRequest, match=r"^no$") as caught:
        client.analyze(checkpoint).result()
    assert (caught.value.reason, caught.value.field, caught.value.retry_after_seconds) == (None, None, None)


def test_a_delay_below_nothing_is_none(fake, refusal, checkpoint):
    fake.refusals = [refusal(grpc.StatusCode.UNAVAILABLE, "later", "DRAINING", retry_after_seconds=-5)]
    with Client(fake.address) as client:
        assert client.analyze(checkpoint).result().tensors
    assert len(fake.uploads) == 2


def test_a_refuted_claim_tells_everything():
    error = ClaimRefuted("measurement.zeros", claimed=3, found=4, tensor="a.weight")
    assert str(error) == "tensor 'a.weight': measurement.zeros is claimed to be 3, found 4"
    assert (error.tensor, error.claim, error.claimed, error.found) == ("a.weight", "measurement.zeros", 3, 4)
