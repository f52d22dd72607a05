"""Every way in which a byte stream can be wrong is refused by name, through the real wire, with nothing sent as valid."""

import json
import threading

import grpc
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_server.header import parse_header
from tests.server.wire import HALF, Caller, read_refusal, stream_of, with_header

GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def header(**tensors: object) -> bytes:
    return json.dumps(tensors).encode()


def two(first: list[int], second: list[int]) -> bytes:
    """Two tensors of the lengths that their offsets claim."""
    entries = {
        name: {"dtype": "U8", "shape": [max(span[1] - span[0], 0)], "data_offsets": span}
        for name, span in {"a": first, "b": second}.items()
    }
    return with_header(header(**entries), b"\0" * 64)


MALFORMED = {
    "not an object": (with_header(b"[]"), "byte 0x5b"),
    "not json": (with_header(b"{nonsense}"), "not JSON"),
    "not utf-8": (with_header(b'{"\xff": 1}'), "not UTF-8 at byte 2"),
    "duplicate key": (with_header(b'{"a": {"dtype": "U8", "dtype": "U8"}}'), "'dtype' more than once"),
    "duplicate tensor": (with_header(b'{"a": 1, "a": 2}'), "'a' more than once"),
    "constant": (with_header(b'{"a": NaN}'), "NaN"),
    "huge number": (with_header(b'{"a": ' + b"9" * 5000 + b"}"), "not JSON"),
    "deep nesting": (with_header(b'{"a":' + b"[" * 100_000), "nests too deeply"),
    "tensor is a list": (with_header(header(a=[])), "'a' must have exactly dtype, shape and data_offsets"),
    "missing shape": (with_header(header(a={"dtype": "U8", "data_offsets": [0, 0]})), "'a' must have exactly"),
    "extra key": (with_header(header(a=GOOD | {"stride": 1})), "'a' must have exactly"),
    "unknown dtype": (with_header(header(a=GOOD | {"dtype": "F128"})), "dtype 'F128'; known are BOOL"),
    "dtype a number": (with_header(header(a=GOOD | {"dtype": 32})), "dtype 32"),
    "negative shape": (with_header(header(a=GOOD | {"shape": [-2, 2]})), "shape [-2, 2]"),
    "fractional shape": (with_header(header(a=GOOD | {"shape": [2.0, 2]})), "shape [2.0, 2]"),
    "boolean shape": (with_header(header(a=GOOD | {"shape": [True, 4]})), "shape [True, 4]"),
    "overflowing shape": (with_header(header(a=GOOD | {"shape": [2**40, 2**40]})), "overflows 2^63"),
    "too many dimensions": (with_header(header(a=GOOD | {"shape": [1] * 33})), "at most 32 integers"),
    "sizes disagree": (with_header(header(a=GOOD | {"shape": [2, 3]}), b"\0" * 16), "need 24 bytes"),
    "reversed offsets": (with_header(header(a=GOOD | {"data_offsets": [16, 0]})), "begin <= end"),
    "three offsets": (with_header(header(a=GOOD | {"data_offsets": [0, 8, 16]})), "two integers"),
    "overlap": (two([0, 8], [4, 12]), "'b' overlaps 'a'"),
    "gap between": (two([0, 8], [12, 16]), "'b' leaves a gap after 'a'"),
    "gap before": (two([4, 8], [8, 16]), "a gap"),
    "metadata of numbers": (with_header(b'{"__metadata__": {"a": 1}}'), "__metadata__ must map strings to strings"),
    "metadata no object": (with_header(b'{"__metadata__": ["a"]}'), "__metadata__ must map strings to strings"),
    "lone surrogate": (with_header(b'{"\\ud800": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}'), "lone surrogate"),
    "overlong name": (with_header(header(**{"n" * 5000: GOOD})), "5000 bytes"),
    "length of one": (b"\x01" + b"\0" * 7 + b"{", "at least 2"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_header_is_refused_by_name(caller: Caller, case: str) -> None:
    stream, says = MALFORMED[case]
    refusal = caller.refused(stream)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.field) == ("MALFORMED_WEIGHTS", "data")
    assert says in refusal.message


@pytest.mark.parametrize("kept", [0, 7, 8, 20, -1])
def test_a_truncated_stream_says_where_it_ended(caller: Caller, kept: int) -> None:
    stream = stream_of({"w": np.ones((4, 4), np.float32)})[: kept if kept >= 0 else -1]
    refusal = caller.refused(stream)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TRUNCATED_STREAM")
    assert f"ended at byte {len(stream)}, with" in refusal.message


def test_bytes_after_the_end_are_refused(caller: Caller) -> None:
    stream = stream_of({"w": np.ones((4, 4), np.float32)}) + b"x"
    assert caller.refused(stream).reason == "TRAILING_BYTES"


def test_bytes_after_the_end_are_refused_for_global_scope_before_anything_is_sent(caller: Caller) -> None:
    rule = pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.5))
    assert caller.refused(stream_of({"w": np.ones((4, 4), np.float32)}) + b"x", rule).reason == "TRAILING_BYTES"


def test_a_header_that_claims_the_world_is_refused_before_it_is_read(caller: Caller) -> None:
    refusal = caller.refused(b"\xff" * 8)
    assert refusal.reason == "HEADER_TOO_LARGE"
    assert str(2**64 - 1) in refusal.message


def test_a_million_tiny_tensors_are_refused_by_name(caller: Caller) -> None:
    entry = '"%d":{"dtype":"U8","shape":[],"data_offsets":[%d,%d]}'
    text = "{" + ",".join(entry % (i, i, i + 1) for i in range(1_000_000)) + "}"
    refusal = caller.refused(with_header(text.encode(), b"\0" * 1_000_000))
    assert refusal.reason == "HEADER_TOO_LARGE"


def test_more_tensors_than_the_limit_are_refused_by_name(serve: object) -> None:
    few = serve(tensors=2)
    refusal = few.refused(stream_of({name: np.ones(1, np.uint8) for name in "abc"}))
    assert refusal.reason == "TOO_MANY_TENSORS"
    assert "3 tensors" in refusal.message
    assert "at most 2" in refusal.message


def test_a_header_of_millions_of_lists_is_refused_before_it_is_parsed(caller: Caller) -> None:
    refusal = caller.refused(with_header(b'{"a":[' + b"[]," * 1_000_000 + b"[]]}"))
    assert refusal.reason == "TOO_MANY_TENSORS"


def test_a_hundred_thousand_tiny_tensors_pass(caller: Caller) -> None:
    entry = '"%d":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    text = "{" + ",".join(entry % (i, 4 * i, 4 * i + 4) for i in range(100_000)) + "}"
    stream = with_header(text.encode(), np.arange(100_000, dtype=np.float32).tobytes())
    answer = caller.compress(stream)
    assert answer.data == stream
    assert len(answer.reports) == answer.summary.tensors == 100_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_nonfinite_weights_are_refused_with_tensor_and_index(caller: Caller, bad: float, dtype: type) -> None:
    weights = np.ones((3, 4, 5), dtype)
    weights[2, 1, 3] = bad
    refusal = caller.refused(stream_of({"ok": np.ones((2, 2), dtype), "net.bad": weights}))
    assert refusal.reason == "NONFINITE_WEIGHT"
    assert "'net.bad'" in refusal.message
    assert "[2, 1, 3]" in refusal.message


def test_the_index_of_a_nonfinite_weight_is_that_of_the_stored_shape(caller: Caller) -> None:
    weights = np.ones((3, 4), np.float32)
    weights[2, 1] = np.nan
    selection = pb.Selection(overrides=[pb.TensorOverride(glob="w", neuron_axis=[1])])
    assert "[2, 1]" in caller.refused(stream_of({"w": weights}), selection=selection).message


def test_nonfinite_tensors_pass_through_when_asked(caller: Caller) -> None:
    weights = np.array([[1, np.nan], [2, 3]], np.float32)
    stream = stream_of({"bad": weights, "good": np.array([[1, 2], [3, 4]], np.float32)})
    answer = caller.compress(stream, nonfinite=pb.NONFINITE_POLICY_PASS_THROUGH)
    assert answer.reports["bad"].reason == pb.PASS_THROUGH_REASON_NONFINITE
    assert answer.reports["bad"].treatment == pb.TREATMENT_PASS_THROUGH
    assert answer.data[-32:-16] == weights.tobytes()
    assert [warning.subject for warning in answer.summary.warnings] == ["bad"]
    assert answer.summary.compressible_tensors == 1


def test_nonfinite_values_in_untouched_tensors_do_not_matter(caller: Caller) -> None:
    stream = stream_of({"bias": np.array([np.nan], np.float32), "w": np.ones((2, 2), np.float32)})
    assert caller.compress(stream).reports["bias"].reason == pb.PASS_THROUGH_REASON_DIMENSIONS


def options() -> pb.CompressRequest:
    return pb.CompressRequest(options=pb.CompressOptions(rule=HALF))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "MISSING_OPTIONS"),
        ([pb.CompressRequest(data=b"x")], "MISSING_OPTIONS"),
        ([pb.CompressRequest()], "EMPTY_FRAME"),
        ([options(), pb.CompressRequest()], "EMPTY_FRAME"),
        ([options(), options()], "REPEATED_OPTIONS"),
        ([options(), pb.CompressRequest(data=stream_of({"w": np.ones((2, 2), np.float32)})), options()], "REPEATED_OPTIONS"),
        ([options()], "TRUNCATED_STREAM"),
    ],
)
def test_frames_out_of_order_are_refused(caller: Caller, frames: list[pb.CompressRequest], reason: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        caller.compress_frames(frames)
    assert read_refusal(caught.value).reason == reason


@pytest.mark.parametrize("frame", [b"\xff\xff\xff", b"\x12\x05ab", b"\x12" + b"\x80" * 10 + b"\x01"])
@pytest.mark.parametrize("before", [[], [options().SerializeToString()]])
def test_a_frame_that_is_no_message_is_a_fault_of_its_sender(caller: Caller, before: list[bytes], frame: bytes) -> None:
    call = caller.channel.stream_stream("/ellq.v1.CompressionService/Compress")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([*before, frame]), timeout=30))
    refusal = read_refusal(caught.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_FRAME")
    assert "no message of the contract" in refusal.message


def test_a_silent_client_is_let_go(serve: object) -> None:
    """A client that never sends must not hold a place for ever."""
    impatient = serve(idle_seconds=0.2, concurrent_calls=1)

    def silent() -> object:
        yield options()
        yield pb.CompressRequest(data=b"\x10")
        released.wait(30)

    released = threading.Event()
    with pytest.raises(grpc.RpcError) as caught:
        list(impatient.stub.Compress(silent(), timeout=30))
    released.set()
    assert "sent nothing for 0.2 seconds" in caught.value.details()
    assert impatient.compress(stream_of({"w": np.ones((2, 2), np.float32)})).summary.kept == 2


def test_the_server_still_answers_after_all_that(caller: Caller) -> None:
    assert caller.server._admission.calls == 0
    assert caller.server._admission.reserved_bytes == 0


@pytest.mark.parametrize(
    ("name", "shape", "end"),
    [("w", [4], 4), ("n" * 4096, [4], 4), ("w", [2**63 - 1, 0], 0), ("w", [1] * 31 + [4], 4)],
    ids=["one tensor", "longest name", "largest size", "most dimensions"],
)
def test_headers_at_their_limits_are_read(name: str, shape: list[int], end: int) -> None:
    text = header(**{name: {"dtype": "U8", "shape": shape, "data_offsets": [0, end]}})
    (found,) = parse_header(len(text).to_bytes(8, "little"), text, most_tensors=1).tensors
    assert (found.name, list(found.shape), found.end) == (name, shape, end)
