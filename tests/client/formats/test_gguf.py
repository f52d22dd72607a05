"""GGUF files: written by the format's own library, read back by it, and never trusted."""

import os
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from tests.client.formats.conftest import HALF, check_only_zeros

from ellq_client import SourceError, verify
from ellq_client.sources import open_source

KINDS = gguf.GGMLQuantizationType


@pytest.fixture
def model(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_token_list(["a", "bc", "def"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_bool("yes", True)
    for name, shape, dtype in [
        ("token_embd.weight", (16, 32), np.float32),
        ("blk.0.attn_q.weight", (32, 32), np.float16),
        ("blk.0.attn_norm.weight", (32,), np.float32),
        ("blk.0.ffn_up_exps.weight", (2, 8, 32), np.float32),
        ("output.weight", (16, 32), np.float32),
    ]:
        writer.add_tensor(name, random.normal(size=shape).astype(dtype))
    bits = (random.normal(size=(8, 32)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    writer.add_tensor("blk.0.ffn_up.weight", bits.view(np.uint8), raw_shape=(8, 64), raw_dtype=KINDS.BF16)
    quantised = gguf.quants.quantize(random.normal(size=(4, 32)).astype(np.float32), KINDS.Q8_0)
    writer.add_tensor("blk.0.ffn_down.weight", quantised, raw_dtype=KINDS.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_only_plain_weights_change(client, model, tmp_path):
    output = tmp_path / "out.gguf"
    result = client.compress(model, output, rule=HALF).result()
    check_only_zeros(model, output, result)
    treated = {tensor.name: (tensor.treatment, tensor.shape, tensor.dtype, tensor.neuron_axis) for tensor in result.tensors}
    assert treated == {
        "token_embd.weight": ("pass_through", (16, 32), "F32", ()),
        "output.weight": ("pass_through", (16, 32), "F32", ()),
        "blk.0.attn_norm.weight": ("pass_through", (32,), "F32", ()),
        "blk.0.attn_q.weight": ("compress", (32, 32), "F16", (0,)),
        "blk.0.ffn_up.weight": ("compress", (8, 32), "BF16", (0,)),
        "blk.0.ffn_up_exps.weight": ("compress", (2, 8, 32), "F32", (0, 1)),
    }
    assert result.not_sent == {"blk.0.ffn_down.weight": "quantised in blocks (ggml type 8)"}
    assert verify(model, output).changed_tensors == 3
    old, new = gguf.GGUFReader(model), gguf.GGUFReader(output)
    assert [(one.name, one.data_offset, one.tensor_type) for one in old.tensors] == [
        (one.name, one.data_offset, one.tensor_type) for one in new.tensors
    ]
    kept = {one.name: bytes(one.data) for one in new.tensors if one.name not in treated}
    assert kept == {one.name: bytes(one.data) for one in old.tensors if one.name not in treated}
    begin = old.data_offset
    assert output.read_bytes()[:begin] == model.read_bytes()[:begin]
    assert output.stat().st_size == model.stat().st_size


def test_it_reads_what_the_library_reads(model):
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(model).tensors}
    for entry in open_source(model).contents.entries:
        assert bytes(entry.load()) == read[entry.name].data.tobytes()


def test_a_file_cut_anywhere_is_named(model, tmp_path):
    whole = model.read_bytes()
    path = tmp_path / "cut.gguf"
    last = max(
        tensor.data_offset + tensor.n_bytes for tensor in gguf.GGUFReader(model).tensors if tensor.tensor_type in (0, 1, 30)
    )
    for length in (*range(300), *range(300, last, 97), last - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"cut\.gguf"):
            open_source(path)


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(model):
    frames = open_source(model).frames()
    next(frames)
    os.truncate(model, 4096)
    with pytest.raises(SourceError, match=r"m\.gguf changed while it was read"):
        list(frames)


def header(*, version: int = 3, tensors: int = 0, pairs: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def tensor(name: bytes, sizes: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GGML" + bytes(40), "does not begin with GGUF"),
        (header(version=1), "version 0x1"),
        (header(version=0x03000000), "version 0x3000000"),
        (header(pairs=1 << 60), "do not exist"),
        (header(tensors=1 << 60), "do not exist"),
        (header(pairs=1, rest=text(b"k") + struct.pack("<IIQ", 9, 0, 1 << 60)), "do not exist"),
        (header(pairs=1, rest=text(b"k") + struct.pack("<IIQ", 9, 8, 1 << 60)), "do not exist"),
        (header(pairs=1, rest=text(b"k") + struct.pack("<IIQ", 9, 9, 1)), "type 9"),
        (header(pairs=1, rest=struct.pack("<Q", 1 << 63)), "do not exist"),
        (header(pairs=1, rest=text(b"general.alignment") + struct.pack("<II", 4, 3)), "power of two"),
        (header(tensors=1, rest=tensor(b"w", (1 << 60, 1 << 60), 0, 0)), "cut off"),
        (header(tensors=1, rest=text(b"w") + struct.pack("<I", 1 << 31)), "axes"),
        (header(tensors=1, rest=tensor(b"", (2, 2), 0, 0) + bytes(99)), "whose name is empty"),
        (header(tensors=1, rest=tensor(b"\xff", (2, 2), 0, 0)), "not UTF-8"),
        (header(tensors=2, rest=tensor(b"w", (2, 2), 0, 0) * 2 + bytes(99)), "two tensors of one name"),
        (header(tensors=2, rest=tensor(b"v", (2, 2), 0, 0) + tensor(b"w", (2, 2), 0, 8) + bytes(99)), "overlap"),
        (header(tensors=1, rest=tensor(b"w", (32, 2), 8, 0) + bytes(199)), r"no tensors .*'?w'?: quantised"),
    ],
)
def test_hostile_headers_are_refused_at_once(tmp_path, data, told):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=told):
        open_source(path)
