"""What a client makes of masks is what would have come whole."""

import json
import math
import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ellq.v1 import compression_pb2 as pb
from ellq_client import Client, Fraction, ProtocolError, SourceError, SparsityIndex, pack
from ellq_client import sources as source_module
from ellq_client.deliveries import Mask
from ellq_client.requests import Request
from ellq_client.steady_file import BLOCK_BYTES

RULE = Fraction(pruned_ratio=0.5)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def taken(told: Mask, parts: list[bytes]) -> bytes:
    return b"".join(bytes(piece) for part in parts for piece in told.take(memoryview(part)))


@settings(deadline=None)
@given(st.data(), st.sampled_from([1, 2, 4, 8]), st.integers(1, 3 * BLOCK_BYTES // 8))
def test_any_weights_in_any_pieces(data, itemsize, count):
    rng = np.random.default_rng(count)
    weights, kept = rng.bytes(count * itemsize), rng.integers(0, 2, count, np.uint8)
    places = st.lists(st.integers(0, 2**32), max_size=5)
    pieces = cut(weights, data.draw(places, "weights are cut"))
    told = Mask(iter(pieces), itemsize=itemsize)
    mask = np.packbits(kept, bitorder="little").tobytes()
    found = b"".join(
        bytes(piece) for some in cut(mask, data.draw(places, "mask is cut")) for piece in told.take(memoryview(some))
    )
    assert found == (np.frombuffer(weights, f"V{itemsize}").view(np.uint8).reshape(count, -1) * kept[:, None]).tobytes()


def test_weights_of_many_blocks():
    count = 2 * BLOCK_BYTES // 4 + 12345
    weights = np.random.default_rng(0).standard_normal(count, np.float32)
    kept = np.random.default_rng(1).integers(0, 2, count, np.uint8)
    told = Mask(iter([weights.tobytes()]), itemsize=4)
    mask = np.packbits(kept, bitorder="little").tobytes()
    found = b"".join(
        bytes(piece) for byte in range(0, len(mask), 999) for piece in told.take(memoryview(mask[byte : byte + 999]))
    )
    assert found == np.where(kept, weights, np.float32(0)).tobytes()


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(0)
    return {
        "a.weight": rng.standard_normal((300, 129), np.float32).astype(np.float16),
        "b.weight": rng.standard_normal((1500, 1001), np.float32),
        "bias": rng.standard_normal(40_000, np.float32),
        "c.weight": rng.standard_normal((7, 7), np.float32),
    }


@pytest.fixture
def whole(monkeypatch):
    """Make requests ask for whole tensors."""
    asked = Request.compress_options

    def told(*arguments, **words):
        options = asked(*arguments, **words)
        options.delivery = pb.DELIVERY_WHOLE
        return options

    return lambda: monkeypatch.setattr(Request, "compress_options", told)


def packed(path, tensors):
    save_file(tensors, path / "dense.safetensors")
    pack(path / "dense.safetensors", path / "model.safetensors")
    return path / "model.safetensors"


def dense(path, tensors):
    save_file(tensors, path / "model.safetensors")
    return path / "model.safetensors"


def numpy_file(path, tensors):
    np.savez(path / "model.npz", **tensors)
    return path / "model.npz"


@pytest.mark.parametrize("kind", [dense, packed, numpy_file])
def test_a_file_comes_out_the_same(tmp_path, tensors, whole, kind):
    model, found = kind(tmp_path, tensors), []
    with Client() as client:
        for name in ("masked", "whole"):
            result = client.compress(model, tmp_path / f"{name}{model.suffix}", rule=RULE, neurons=True).result()
            found.append(((tmp_path / f"{name}{model.suffix}").read_bytes(), result.tensors))
            whole()
    assert found[0] == found[1]


def test_shards_of_one_pool_come_out_the_same(tmp_path, tensors, whole):
    (tmp_path / "model").mkdir()
    places = {name: f"model-{number}.safetensors" for number, name in enumerate(tensors)}
    for name, file in places.items():
        save_file({name: tensors[name]}, tmp_path / "model" / file)
    (tmp_path / "model/model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with Client() as client:
        for name in ("masked", "whole"):
            client.compress(tmp_path / "model", tmp_path / name, rule=SparsityIndex(q=0.5, scope="global")).result()
            whole()
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "masked" / path.name).read_bytes() == path.read_bytes()


def test_arrays_come_out_the_same(tensors, whole):
    with Client() as client:
        masked = client.compress(tensors, rule=RULE).result().weights
        whole()
        told = client.compress(tensors, rule=RULE).result().weights
    for name, array in told.items():
        assert masked[name].dtype == array.dtype
        assert masked[name].tobytes() == array.tobytes()


def test_most_of_the_way_back_is_saved(tmp_path, tensors, monkeypatch):
    came = []
    taken = Mask.take
    monkeypatch.setattr(Mask, "take", lambda self, data: came.append(len(data)) or taken(self, data))
    with Client() as client:
        client.compress(tensors, rule=RULE).result()
    assert sum(came) == math.ceil(300 * 129 / 8) + math.ceil(1500 * 1001 / 8)


def test_weights_that_change_meanwhile_are_told(fake, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": np.ones((200, 200), np.float32)}, path)

    def damage(frames):
        save_file({"w": np.zeros((200, 200), np.float32)}, path)
        os.utime(path, (0, 0))  # else a fast clock decides
        return as_sent(frames)

    fake.damage = damage
    with Client(fake.address) as client, pytest.raises(SourceError, match="changed while it was read"):
        client.compress(path, tmp_path / "small.safetensors", rule=RULE).result()
    assert not (tmp_path / "small.safetensors").exists()


def test_a_pipe_in_place_of_the_source_is_not_waited_for(fake, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": np.ones((200, 200), np.float32)}, path)

    def damage(frames):
        path.unlink()
        os.mkfifo(path)
        return as_sent(frames)

    fake.damage = damage
    with Client(fake.address) as client, pytest.raises(SourceError, match="changed while it was read"):
        client.compress(path, tmp_path / "small.safetensors", rule=RULE).result()
    assert [one.name for one in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_tensor_is_read_again_only_in_its_turn(tmp_path, tensors, monkeypatch):
    read = []
    taken = source_module.weight_bytes
    monkeypatch.setattr(source_module, "weight_bytes", lambda array: read.append(array.shape) or taken(array))
    source = source_module.ArraySource(tensors)
    pieces = [source.pieces(stored) for stored in source.header.tensors]
    assert not read
    assert next(pieces[0])
    assert len(read) == 1


def test_arrays_that_change_meanwhile_are_told(fake):
    arrays = {"w": np.ones((200, 200), np.float32)}

    def damage(frames):
        arrays["w"][:] = 0
        return as_sent(frames)

    fake.damage = damage
    with (
        Client(fake.address) as client,
        pytest.raises(ProtocolError, match="digest, or the weights changed since they were sent"),
    ):
        client.compress(arrays, rule=RULE).result()


# The frames of an answer for one tensor: manifest, plans, header, reports, data, summary.
REPORTS, DATA = 3, 4


def as_sent(frames):
    frames[REPORTS].reports.reports[0].payload.delivery = pb.DELIVERY_AS_SENT
    return frames[:DATA] + frames[DATA + 1 :]


def masked(mask, delivery=pb.DELIVERY_MASK):
    def damage(frames):
        frames[REPORTS].reports.reports[0].payload.delivery = delivery
        return [*frames[:DATA], pb.CompressResponse(data=mask), *frames[DATA + 1 :]]

    return damage


def test_a_mask_in_two_frames(fake):
    def damage(frames):
        frames = masked(b"")(frames)
        return [*frames[:DATA], *(pb.CompressResponse(data=part) for part in (b"\xff", b"\x01")), *frames[DATA + 1 :]]

    fake.damage = damage
    weights = np.arange(9, dtype=np.float32).reshape(3, 3)
    with Client(fake.address) as client:
        result = client.compress({"w": weights}, rule=RULE).result()
    assert np.array_equal(result.weights["w"], weights)


BREACHES = {
    "a bit of the mask": masked(b"\xfe\x01"),
    "a mask too short": masked(b"\xff"),
    "a mask too long": masked(b"\xff\x01\x00"),
    "no mask": masked(b""),
    "data for what is as it was sent": masked(b"\xff\x01", pb.DELIVERY_AS_SENT),
    "whole data that are a mask": masked(b"\xff\x01", pb.DELIVERY_WHOLE),
    "a delivery of a newer contract": masked(b"\xff\x01", 9),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_found_out(fake, tmp_path, breach):
    fake.damage = BREACHES[breach]
    path = tmp_path / "model.safetensors"
    save_file({"w": np.arange(1, 10, dtype=np.float32).reshape(3, 3)}, path)
    with Client(fake.address) as client, pytest.raises(ProtocolError):
        client.compress(path, tmp_path / "small.safetensors", rule=RULE).result()
    assert [one.name for one in tmp_path.iterdir()] == ["model.safetensors"]


def test_whole_bytes_are_the_fault_of_nobody_else(fake):
    def damage(frames):
        weights = np.zeros((3, 3), np.float32)
        return masked(weights.tobytes(), pb.DELIVERY_WHOLE)(frames)

    fake.damage = damage
    with Client(fake.address) as client, pytest.raises(ProtocolError, match=r"'w' do not have their digest$"):
        client.compress({"w": np.ones((3, 3), np.float32)}, rule=RULE).result()


def test_a_mask_of_what_is_no_weight_is_a_breach(fake):
    fake.damage = masked(b"\x01")
    with Client(fake.address) as client, pytest.raises(ProtocolError, match="'w' \\(I64\\)"):
        client.compress({"w": np.ones((1, 1), np.int64)}, rule=RULE).result()
