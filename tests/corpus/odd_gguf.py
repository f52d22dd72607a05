"""GGUF: versions, machines and counts."""

import struct
from functools import partial
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFEndian, GGUFWriter
from gguf.quants import quantize

from tests.corpus.cases import Case, Make, refused, works
from tests.corpus.headers import WEIGHT, with_bytes

fine, bad = partial(works, "m.gguf"), partial(refused, "m.gguf")

WIDE = np.random.default_rng(3).normal(size=(4, 256)).astype(np.float32)


def model(path: Path, *, alignment: int | None = None, endian: GGUFEndian = GGUFEndian.LITTLE, blocks: bool = False) -> None:
    """Write a small model."""
    writer = GGUFWriter(path, "llama", endianess=endian)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_array("tokens", ["a", "b"])
    writer.add_tensor("blk.0.attn_q.weight", WEIGHT)
    writer.add_tensor("blk.0.attn_norm.weight", WEIGHT[0].copy())
    if blocks:
        for kind in (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0):
            writer.add_tensor(f"blk.0.{kind.name}.weight", quantize(WIDE, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def of_version(version: int) -> Make:
    """Return what writes a model that says so; 2 and 3 differ in nothing else."""

    def make(path: Path) -> None:
        model(path)
        text = bytearray(path.read_bytes())
        text[4:8] = struct.pack("<I", version)
        path.write_bytes(text)

    return make


def with_alignment(alignment: int) -> Make:
    """Return what writes a model that claims an alignment."""

    def make(path: Path) -> None:
        model(path, alignment=64)
        key = b"general.alignment" + struct.pack("<I", 4)
        text = path.read_bytes().replace(key + struct.pack("<I", 64), key + struct.pack("<I", alignment))
        path.write_bytes(text)

    return make


def by_hand(tensors: int, *parts: bytes) -> Make:
    """Return what writes a header of version 3 without metadata, then what follows."""
    return with_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, 0) + b"".join(parts))


def entry(name: bytes, shape: tuple[int, ...], offset: int, kind: int = 0) -> bytes:
    """Return one tensor of a header."""
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return struct.pack("<Q", len(name)) + name + sizes + struct.pack("<IQ", kind, offset)


def cut_off(path: Path) -> None:
    model(path)
    path.write_bytes(path.read_bytes()[:-64])


SPACE = bytes(1024)

CASES: dict[str, Case] = {
    "version 3": fine(model, "blk.0.attn_q.weight"),
    "version 2": fine(of_version(2), "blk.0.attn_q.weight"),
    "blocks of quantised weights": fine(lambda path: model(path, blocks=True), "blk.0.attn_q.weight"),
    "alignment of 256": fine(lambda path: model(path, alignment=256), "blk.0.attn_q.weight"),
    "suffix in capitals": works("M.GGUF", model, "blk.0.attn_q.weight"),
    "version 1": bad(of_version(1), r"m\.gguf: GGUF version 0x1; little-endian versions 2 and 3"),
    "version of the future": bad(of_version(4), "GGUF version 0x4"),
    "order of other machines": bad(lambda path: model(path, endian=GGUFEndian.BIG), "0x3000000; little-endian"),
    "alignment of 0": bad(with_alignment(0), r"general\.alignment is 0"),
    "alignment of 48": bad(with_alignment(48), r"general\.alignment is 48"),
    "alignment of 2**31": bad(with_alignment(2**31), r"m\.gguf is cut off: tensor 'blk\.0"),
    "cut off": bad(cut_off, r"m\.gguf is cut off: tensor 'blk\.0"),
    "no tensors": bad(by_hand(0), r"m\.gguf holds no tensors"),
    "2**60 tensors": bad(by_hand(2**60, SPACE), r"m\.gguf"),
    "a name of 2**60 bytes": bad(by_hand(1, struct.pack("<Q", 2**60), SPACE), r"m\.gguf is no whole GGUF file"),
    "a name not UTF-8": bad(by_hand(1, entry(b"\xff", (4, 8), 0), SPACE), "name is not UTF-8"),
    "nine axes": bad(by_hand(1, entry(b"w", (1,) * 9, 0), SPACE), "'w' has 9 axes"),
    "a shape beyond all numbers": bad(by_hand(1, entry(b"w", (2**62, 2**62), 0), SPACE), "tensor 'w' ends at"),
    "two tensors of one name": bad(by_hand(2, entry(b"w", (2, 4), 0), entry(b"w", (2, 4), 64), SPACE), "one name"),
    "tensors that overlap": bad(by_hand(2, entry(b"w", (4, 8), 0), entry(b"v", (4, 8), 64), SPACE), "'w' and 'v' overlap"),
}
