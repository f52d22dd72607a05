"""What is packed comes back bit by bit, whatever the bits mean."""

import json
from hashlib import sha256

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.packing.conftest import packed, write_packed
from tests.client.packing.naive import unpacked

from ellq.v1.safetensors import DTYPE_BITS
from ellq_client import OutputError, load_packed
from ellq_client.arrays import header_of
from ellq_client.packing import container
from ellq_client.packing.container import stored_bytes_max
from ellq_client.packing.reading import PackedCheckpoint
from ellq_client.packing.words import BLOCK_WORDS

SPECIAL = {
    "F64": ("u8", [0, 1 << 63, 1, 0x7FF0 << 48, 0x7FF8_0000_0000_0001, 0xFFFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0001]),
    "F32": ("u4", [0, 1 << 31, 1, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0001, 0xFFFF_FFFF, 0x8000_0001, 0x007F_FFFF]),
    "F16": ("u2", [0, 1 << 15, 1, 0x7C00, 0xFC00, 0x7E01, 0xFFFF, 0x8001, 0x03FF]),
    "BF16": ("u2", [0, 1 << 15, 1, 0x7F80, 0xFF80, 0x7FC1, 0xFFFF, 0x8001, 0x007F]),
    "F8_E4M3": ("u1", [0, 0x80, 1, 0x7F, 0xFF]),
    "F8_E5M2": ("u1", [0, 0x80, 1, 0x7C, 0x7F, 0xFF]),
}


def dense_file(*tensors: tuple[str, str, tuple[int, ...], bytes]) -> bytes:
    """Return a safetensors file with these names, dtypes, shapes and bytes."""
    header = header_of((name, dtype, shape, len(data)) for name, dtype, shape, data in tensors)
    return header + b"".join(data for *_, data in tensors)


@st.composite
def tensors(draw):
    """Any bytes of any dtype, with any share of zeros, in any number of dimensions."""
    dtype = draw(st.sampled_from(sorted(DTYPE_BITS)))
    count = draw(st.integers(0, 300)) * 8
    length = count * DTYPE_BITS[dtype] // 8
    random = np.random.default_rng(draw(st.integers(0, 99)))
    most = draw(st.sampled_from([1, 2, 14, 15, 16, 17, 200, 256]))  # symbols: around the 15 that pairs can hold
    data = random.integers(0, most, length).astype(np.uint8).reshape(-1, max(DTYPE_BITS[dtype] // 8, 1))
    data[random.random(len(data)) < draw(st.sampled_from([0, 0.01, 0.5, 0.99, 1]))] = 0
    shape = draw(st.sampled_from([(count,), (8, count // 8), (2, 2, count // 4)]))
    return dtype, shape, data.tobytes()


@settings(deadline=None, max_examples=150)
@given(st.lists(tensors(), max_size=4), st.integers(1, 5000))
def test_every_dtype_comes_back_byte_for_byte(tmp_path_factory, found, piece_bytes):
    dense = dense_file(*[(f"t{place}", *tensor) for place, tensor in enumerate(found)])
    file = packed(dense, piece_bytes=piece_bytes)
    assert unpacked(file) == dense
    path = tmp_path_factory.mktemp("packed") / "x.safetensors"
    path.write_bytes(file)
    with PackedCheckpoint(path) as checkpoint:
        assert checkpoint.header + b"".join(checkpoint.payload()) == dense
        sizes = checkpoint.sizes()
        stored = sum(tensor.length_bytes for tensor in checkpoint._container.tensors)
        assert stored <= sum(map(stored_bytes_max, checkpoint.tensors))
    assert (sizes.logical_bytes, sizes.stored_bytes) == (len(dense), len(file))


@pytest.mark.parametrize("dtype", SPECIAL)
@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_signed_zeros_nans_and_subnormals_keep_their_bits(dtype, zeros):
    kind, special = SPECIAL[dtype]
    random = np.random.default_rng(3)
    words = random.choice(np.array(special, dtype=kind), 4000)
    words[random.random(len(words)) < zeros] = 0
    dense = dense_file(("w", dtype, (40, 100), words.tobytes()))
    assert unpacked(packed(dense)) == dense


@pytest.mark.parametrize("count", [BLOCK_WORDS - 1, BLOCK_WORDS, BLOCK_WORDS + 1, 2 * BLOCK_WORDS + 7])
@pytest.mark.parametrize("dtype", ["BF16", "U8"])
def test_blocks_end_where_they_must(tmp_path, count, dtype):
    random = np.random.default_rng(count)
    words = (random.normal(size=count).astype(ml_dtypes.bfloat16) * (random.random(count) < 0.5)).view(np.uint16)
    data = words.tobytes() if dtype == "BF16" else words.astype(np.uint8).tobytes()
    dense = dense_file(("before", "U8", (3,), b"abc"), ("w", dtype, (count,), data), ("after", "F32", (0, 4), b""))
    with PackedCheckpoint(write_packed(tmp_path / "x.safetensors", dense)) as checkpoint:
        assert checkpoint.header + b"".join(checkpoint.payload()) == dense
        for begin, end in [(0, 5), (0, len(dense)), (len(checkpoint.header) + 1, len(dense) - 1), (len(dense) - 9, len(dense))]:
            assert checkpoint.read(begin, end - begin) == dense[begin:end]


def test_the_text_of_the_header_stays_as_it_was(tmp_path):
    entry = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    text = (
        json.dumps({"__metadata__": {"format": "pt", "quote": '"\\\n\x7f'}, "\u00e9\U0001f600": entry}, indent=3).encode()
        + b"   "
    )
    dense = len(text).to_bytes(8, "little") + text + b"\x05"
    assert unpacked(packed(dense)) == dense
    arrays = load_packed(write_packed(tmp_path / "x.safetensors", dense))
    assert arrays["\u00e9\U0001f600"].tolist() == [5]


def test_arrays_come_back_with_their_dtypes(tmp_path):
    weights = np.random.default_rng(0).normal(size=(30, 40)).astype(ml_dtypes.bfloat16)
    dense = dense_file(("w", "BF16", (30, 40), weights.tobytes()), ("s", "F32", (), np.float32(3).tobytes()))
    arrays = load_packed(write_packed(tmp_path / "x.safetensors", dense))
    assert list(arrays) == ["w", "s"]
    assert arrays["w"].dtype == ml_dtypes.bfloat16
    assert arrays["w"].tobytes() == weights.tobytes()
    assert arrays["s"].shape == ()
    assert arrays["s"] == 3


@pytest.mark.parametrize("order", [("none", "some"), ("some", "none")])
def test_a_tensor_without_bytes_lends_no_other_its_digest(tmp_path, order):
    """Both begin at one place."""
    data = {"none": b"", "some": bytes(range(64))}
    (tmp_path / "x.safetensors").write_bytes(
        packed(dense_file(*((name, "U8", (len(data[name]),), data[name]) for name in order)))
    )
    with PackedCheckpoint(tmp_path / "x.safetensors") as opened:
        for tensor in opened.tensors:
            assert opened.digest(tensor.begin, tensor.end) == sha256(data[tensor.name]).hexdigest()


@pytest.mark.parametrize("name", ["w", "ww", "www", "wwww"])
def test_data_of_packed_files_begin_at_multiples_of_eight(name):
    assert int.from_bytes(packed(dense_file((name, "U8", (3,), b"abc")))[:8], "little") % 8 == 0


def test_a_header_that_would_be_too_long_for_others_is_not_written(monkeypatch):
    monkeypatch.setattr(container, "HEADER_BYTES_MAX", 100)
    with pytest.raises(OutputError, match=r"the header would have \d+ bytes; safetensors allows 100"):
        packed(dense_file(("w", "U8", (3,), b"abc")))
