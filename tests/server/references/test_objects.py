"""Weights that never pass through the caller: from and to objects of a store that speaks S3."""

from collections.abc import Iterator
from hashlib import sha256
from threading import Event

import grpc
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from tests.server.references.calls import ByReference
from tests.server.references.conftest import BUCKET
from tests.server.wire import HALF, read_refusal, stream_of


def body(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def uploads(s3) -> list[object]:
    return s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


@pytest.fixture(scope="module")
def expected(server: ByReference, stream: bytes):
    """What a caller gets who sends the weights and takes them back."""
    return server.caller.compress(stream)


def test_both_places_by_reference_give_the_bytes_and_reports_of_a_plain_call(server, s3, stored, expected, stream) -> None:
    answer = server.compress(stored, f"s3://{BUCKET}/open/out.safetensors")
    assert "data" not in answer.kinds
    assert body(s3, "open/out.safetensors") == expected.data
    assert answer.reports == expected.reports
    told = answer.summary.stored
    assert (told.uri, told.length_bytes) == (f"s3://{BUCKET}/open/out.safetensors", len(stream))
    assert told.sha256 == sha256(expected.data).digest()
    assert told.etag == s3.head_object(Bucket=BUCKET, Key="open/out.safetensors")["ETag"]
    header = stream[: 8 + int.from_bytes(stream[:8], "little")]
    assert answer.manifest.header_sha256 == sha256(header).digest()
    assert uploads(s3) == []


def test_the_store_was_given_a_digest_of_every_part(server, s3, stored) -> None:
    server.compress(stored, f"s3://{BUCKET}/open/summed.safetensors")
    head = s3.head_object(Bucket=BUCKET, Key="open/summed.safetensors", ChecksumMode="ENABLED")
    assert "ChecksumSHA256" in head


def test_a_source_by_reference_comes_back_in_data(server, stored, expected) -> None:
    answer = server.compress(stored)
    assert answer.data == expected.data
    assert not answer.summary.HasField("stored")


def test_an_output_by_reference_takes_data_that_was_sent(server, s3, expected, stream) -> None:
    answer = server.compress(output=f"s3://{BUCKET}/open/sent.safetensors", data=stream)
    assert body(s3, "open/sent.safetensors") == expected.data
    assert answer.manifest.header_sha256 == b""


def test_an_object_that_is_there_is_replaced_where_that_is_wanted(server, s3, stored, expected) -> None:
    s3.put_object(Bucket=BUCKET, Key="open/old.safetensors", Body=b"old")
    refusal = server.refused(stored, f"s3://{BUCKET}/open/old.safetensors", replace_output=False)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "OUTPUT_EXISTS")
    assert refusal.field == "options.output_uri"
    assert body(s3, "open/old.safetensors") == b"old"
    assert uploads(s3) == []
    server.compress(stored, f"s3://{BUCKET}/open/old.safetensors")
    assert body(s3, "open/old.safetensors") == expected.data


@pytest.mark.parametrize("rows", [10, 5000])
def test_an_object_that_appears_under_way_is_not_replaced(server, s3, rows: int) -> None:
    """A small one the store itself refuses; of a large one it is asked just before it is completed."""
    key = f"open/raced{rows}.safetensors"
    weights = stream_of({"w": np.ones((rows, 1000), np.float32)})
    began = Event()

    def frames() -> Iterator[pb.CompressRequest]:
        yield pb.CompressRequest(options=pb.CompressOptions(rule=HALF, output_uri=f"s3://{BUCKET}/{key}"))
        yield pb.CompressRequest(data=weights[:200])
        assert began.wait(30)
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"somebody else's")
        for start in range(200, len(weights), 1 << 20):
            yield pb.CompressRequest(data=weights[start : start + (1 << 20)])

    answers = server.caller.stub.Compress(frames(), timeout=60)
    assert next(answers).HasField("manifest")  # sent once it is known that nothing is there
    began.set()
    with pytest.raises(grpc.RpcError) as caught:
        list(answers)
    assert read_refusal(caught.value).reason == "OUTPUT_EXISTS"
    assert body(s3, key) == b"somebody else's"
    assert uploads(s3) == []


def test_without_leave_to_replace_the_first_of_its_name_is_written(server, s3, stored, expected) -> None:
    server.compress(stored, f"s3://{BUCKET}/open/first.safetensors", replace_output=False)
    assert body(s3, "open/first.safetensors") == expected.data
    small = stream_of({"w": np.ones((10, 10), np.float32)})
    server.compress("", f"s3://{BUCKET}/open/small.safetensors", data=small, replace_output=False)
    assert body(s3, "open/small.safetensors") == server.caller.compress(small).data


def test_analyze_reads_by_reference(server, stored, stream) -> None:
    assert server.analyze(stored).reports == server.caller.analyze(stream).reports


def test_plans_only_reads_no_weights(server, s3, stream, stored) -> None:
    header = 8 + int.from_bytes(stream[:8], "little")
    torn = stream[:header] + b"\0" * 10  # nobody notices, because nothing behind the header is looked at
    s3.put_object(Bucket=BUCKET, Key="open/torn.safetensors", Body=torn)
    answer = server.analyze(f"s3://{BUCKET}/open/torn.safetensors", plans_only=True)
    assert answer.plans == server.analyze(stored).plans
    assert answer.reports == {}
    assert (answer.manifest.header_bytes, answer.summary.weights) == (header, 0)


def test_a_sketch_of_one_reading_serves_the_next(serve, server, stored, stream) -> None:
    """Several passes over the same object: what global scope needs where the server cannot hold the payload."""
    rule = pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.5))
    sketch = None
    while sketch is None or not sketch.final:
        sketch = server.analyze(stored, rule=rule, sketch=pb.SketchOptions(previous=sketch)).summary.sketch
    assert server.compress(stored, rule=rule, sketch=sketch).data == server.caller.compress(stream, rule).data


def test_data_beside_a_source_is_refused_before_its_store_is_asked(server, stored) -> None:
    for source in (stored, f"s3://{BUCKET}/open/none.safetensors"):
        refusal = server.refused(source, data=b"weights")
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNEXPECTED_DATA")


def test_not_even_an_empty_frame_keeps_a_call_waiting(server, stored) -> None:
    over = Event()

    def frames() -> Iterator[pb.CompressRequest]:
        yield pb.CompressRequest(options=pb.CompressOptions(rule=HALF, source_uri=stored))
        yield pb.CompressRequest(data=b"")
        over.wait(30)

    with pytest.raises(grpc.RpcError) as caught:
        server.caller.compress_frames(frames())
    over.set()
    assert read_refusal(caught.value).reason == "UNEXPECTED_DATA"


def test_neither_data_nor_a_source_is_a_torn_stream_as_ever(server) -> None:
    assert server.refused().reason == "TRUNCATED_STREAM"


def test_a_source_cannot_be_its_own_output(server, s3, stored, stream) -> None:
    refusal = server.refused(stored, stored)
    assert (refusal.reason, refusal.field) == ("INVALID_URI", "options.output_uri")
    assert body(s3, "open/in.safetensors") == stream


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "TRUNCATED_STREAM"),
        (b"\xff" * 100, "HEADER_TOO_LARGE"),
        (b"\x02\0\0\0\0\0\0\0{}more", "TRAILING_BYTES"),
        (b"\x02\0\0\0\0\0\0\0[]", "MALFORMED_WEIGHTS"),
    ],
)
def test_what_is_no_checkpoint_is_refused_as_if_it_was_sent(server, s3, content: bytes, reason: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="open/bad.safetensors", Body=content)
    places = f"s3://{BUCKET}/open/bad.safetensors", f"s3://{BUCKET}/open/never.safetensors"
    assert server.refused(*places).reason == reason
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="open/never")
    assert uploads(s3) == []


def test_parts_that_never_fit_into_memory_are_refused_for_good(server, s3, stored, monkeypatch) -> None:
    monkeypatch.setattr("ellq_server.references.uploads.ObjectWriter.memory_bytes", lambda *_: 1 << 50)
    refusal = server.refused(stored, f"s3://{BUCKET}/open/never.safetensors")
    assert (refusal.reason, refusal.retry_after) == ("PAYLOAD_TOO_LARGE", None)
    assert refusal.message.startswith(f"options.source_uri {stored}: the call needs {1 << 50} bytes of memory beside")
    assert uploads(s3) == []


def test_a_refusal_in_the_middle_leaves_neither_object_nor_upload(server, s3, stream) -> None:
    torn = bytearray(stream)
    torn[-4:] = b"\x00\x00\xc0\x7f"  # NaN, the very last weight
    s3.put_object(Bucket=BUCKET, Key="open/nan.safetensors", Body=bytes(torn))
    refusal = server.refused(f"s3://{BUCKET}/open/nan.safetensors", f"s3://{BUCKET}/open/never.safetensors")
    assert refusal.reason == "NONFINITE_WEIGHT"
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="open/never")
    assert uploads(s3) == []


def test_an_object_that_is_not_there_is_named(server) -> None:
    refusal = server.refused(f"s3://{BUCKET}/open/nothing.safetensors")
    assert (refusal.reason, refusal.field) == ("OBJECT_NOT_FOUND", "options.source_uri")
    assert f"s3://{BUCKET}/open/nothing.safetensors does not exist" in refusal.message


def test_a_server_without_prefixes_opens_nothing(caller, stored, stream) -> None:
    plain = ByReference(caller)
    for places in ((stored, ""), ("", stored), ("file:///etc/passwd", "")):
        refusal = plain.refused(*places)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REFERENCES_OFF")
    assert caller.compress(stream, HALF).summary.tensors == 6


def test_capabilities_tell_the_schemes(server, caller) -> None:
    told = server.caller.stub.GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10)
    assert (list(told.source_schemes), list(told.output_schemes)) == (["file", "s3"], ["file", "s3"])
    assert list(caller.stub.GetCapabilities(pb.GetCapabilitiesRequest(), timeout=10).source_schemes) == []


def test_bytes_are_counted_by_scheme(server, stored, stream) -> None:
    registry = server.caller.server.metrics.registry
    before = registry.get_sample_value("ellq_reference_read_bytes_total", {"scheme": "s3"}) or 0
    wrote = registry.get_sample_value("ellq_reference_written_bytes_total", {"scheme": "s3"}) or 0
    server.compress(stored, f"s3://{BUCKET}/open/counted.safetensors")
    assert registry.get_sample_value("ellq_reference_read_bytes_total", {"scheme": "s3"}) - before == len(stream)
    assert registry.get_sample_value("ellq_reference_written_bytes_total", {"scheme": "s3"}) - wrote == len(stream)
