"""Masks stand for the very bytes that come whole."""

import hashlib
import math

import ml_dtypes
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_server import deliveries
from tests.server.test_networks import MOMENTS, NETWORK, RULES, STREAM
from tests.server.wire import HALF, Answer, Caller, stream_of

DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
LAYER = pb.Rule(scope=pb.SCOPE_LAYER, tail=pb.TailRule(epsilon=0.3, p=2))
GLOBAL = pb.Rule(scope=pb.SCOPE_GLOBAL, sparsity_index=pb.SparsityIndexRule(q=0.5))


def weights(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    found = (np.random.default_rng(seed).standard_t(3, shape) * 0.1).astype(np.float32)
    found.flat[::7], found.flat[1::7] = 0.0, -0.0
    return found.astype(dtype)


def expanded(answer: Answer, stream: bytes) -> bytes:
    """Put the bytes together that the deliveries tell, one weight at a time."""
    start = answer.manifest.header_bytes
    data, whole = answer.data[start:], bytearray(answer.data[:start])
    for plan in answer.plans.values():
        payload = answer.reports[plan.name].payload
        sent, start = stream[start : start + payload.length_bytes], start + payload.length_bytes
        if payload.delivery == pb.DELIVERY_AS_SENT:
            whole += sent
            continue
        if payload.delivery == pb.DELIVERY_WHOLE:
            whole += data[: len(sent)]
            data = data[len(sent) :]
            continue
        assert payload.delivery == pb.DELIVERY_MASK
        count = math.prod(plan.shape)
        size, length = len(sent) // count, math.ceil(count / 8)
        for weight in range(count):
            kept = data[weight // 8] >> weight % 8 & 1
            whole += sent[weight * size : (weight + 1) * size] if kept else bytes(size)
        data = data[length:]
    assert not data
    return bytes(whole)


@pytest.mark.parametrize("rule", [HALF, LAYER, GLOBAL])
@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_tell_the_bytes_that_come_whole(caller: Caller, dtype: type, rule: pb.Rule) -> None:
    tensors = {"w": weights((257, 259), dtype), "bias": weights((70_001,), np.float64), "last": weights((9, 9), dtype)}
    stream = stream_of(tensors)
    whole = caller.compress(stream, rule)
    answer = caller.compress(stream, rule, delivery=pb.DELIVERY_MASK)
    assert expanded(answer, stream) == whole.data
    deliveries = {name: report.payload.delivery for name, report in answer.reports.items()}
    assert deliveries == {"w": pb.DELIVERY_MASK, "bias": pb.DELIVERY_AS_SENT, "last": pb.DELIVERY_WHOLE}
    assert len(answer.data) == answer.manifest.header_bytes + math.ceil(257 * 259 / 8) + tensors["last"].nbytes


def test_only_the_delivery_differs(caller: Caller) -> None:
    stream = stream_of({"w": weights((257, 259), np.float32), "bias": weights((70_001,), np.float64)})
    whole = caller.compress(stream, neuron_reports=True)
    answer = caller.compress(stream, neuron_reports=True, delivery=pb.DELIVERY_MASK)
    for report in answer.reports.values():
        report.payload.ClearField("delivery")
    assert (answer.plans, answer.reports, answer.neurons) == (whole.plans, whole.reports, whole.neurons)
    assert hashlib.sha256(whole.data[-70_001 * 8 :]).digest() == answer.reports["bias"].payload.sha256


def test_a_transposed_tensor_is_masked_in_stored_order(caller: Caller) -> None:
    stream = stream_of({"w": weights((130, 300), np.float32)})
    axis = pb.Selection(overrides=[pb.TensorOverride(glob="w", neuron_axis=[1])])
    answer = caller.compress(stream, selection=axis, delivery=pb.DELIVERY_MASK)
    assert expanded(answer, stream) == caller.compress(stream, selection=axis).data
    assert answer.reports["w"].payload.delivery == pb.DELIVERY_MASK


def test_replaced_values_come_whole(caller: Caller) -> None:
    tensor = weights((200, 96), np.float32)
    root = np.random.default_rng(1).standard_normal((200, 96))
    moments = pb.Moments(tensor="w", second_moments=(root**2).mean(axis=0), matrix=(root.T @ root / 200).tobytes())
    stream, lasso = stream_of({"w": tensor}), pb.Rule(scope=pb.SCOPE_NEURON, lasso=pb.LassoRule(epsilon=0.2))
    answer = caller.compress(stream, lasso, moments=[moments], delivery=pb.DELIVERY_MASK)
    assert answer.reports["w"].payload.delivery == pb.DELIVERY_WHOLE
    assert answer.data == caller.compress(stream, lasso, moments=[moments]).data


@pytest.mark.parametrize("delivery", [pb.DELIVERY_AS_SENT, 9])
def test_what_cannot_be_asked_for_is_refused(caller: Caller, delivery: int) -> None:
    refusal = caller.refused(stream_of({"w": weights((4, 4), np.float32)}), delivery=delivery)
    assert (refusal.reason, refusal.field) == ("INVALID_ENUM", "options.delivery")
    assert "DELIVERY_WHOLE and DELIVERY_MASK" in refusal.message


def test_an_unchanged_answer_says_nothing_of_deliveries(caller: Caller) -> None:
    answer = caller.compress(stream_of({"w": weights((257, 259), np.float32)}))
    assert answer.reports["w"].payload.delivery == pb.DELIVERY_UNSPECIFIED


@pytest.mark.parametrize("name", RULES)
def test_networks_are_masked_like_anything_else(caller: Caller, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(deliveries, "WHOLE_BYTES", 1)
    asked = {"network": NETWORK, "moments": MOMENTS, "remove_dead_neurons": True}
    answer = caller.compress(STREAM, RULES[name], delivery=pb.DELIVERY_MASK, **asked)
    assert expanded(answer, STREAM) == caller.compress(STREAM, RULES[name], **asked).data
    assert {report.payload.delivery for report in answer.reports.values()} > {pb.DELIVERY_AS_SENT}


@pytest.mark.parametrize(
    ("dtype", "word"), [("F64", np.uint64), ("F32", np.uint32), ("BF16", np.uint16), ("F8_E4M3", np.uint8)]
)
@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("more", [0, 1, 13])
def test_digest_and_mask_of_any_number_of_blocks(dtype: str, word: type, blocks: int, more: int) -> None:
    count = blocks * deliveries.BLOCK_BYTES // np.dtype(word).itemsize + more
    words = np.random.default_rng(0).integers(0, 2, count, word) << (8 * np.dtype(word).itemsize - 1)
    digest, mask = deliveries.digest_and_mask(words.data.cast("B"), dtype)
    assert digest == hashlib.sha256(words.tobytes()).digest()
    assert b"".join(mask) == np.packbits(words != 0, bitorder="little").tobytes()
