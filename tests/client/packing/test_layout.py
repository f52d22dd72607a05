"""The layout, byte by byte; and what the safetensors library makes of it."""

import json
from hashlib import sha256
from math import log2

import numpy as np
import pytest
from safetensors import safe_open
from tests.client.packing.conftest import packed, write_packed
from tests.client.packing.test_round_trip import dense_file

from ellq_client.packing.reading import PackedCheckpoint

WEIGHTS = bytes.fromhex("803f 0000 0000 00c0")
"""1.0, 0.0, 0.0 and -2.0 in BF16."""


def test_a_small_file_has_these_very_bytes():
    text = '{"w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}       '
    dense = dense_file(("w", "BF16", (2, 2), WEIGHTS))
    assert dense == b"\x40" + bytes(7) + text.encode() + WEIGHTS
    block = bytes.fromhex(
        "14000000"  # 20 bytes follow
        "00 01000000 09"  # the mask, plain: words 0 and 3
        "00 02000000 7f80"  # exponents of 1.0 and -2.0
        "00 02000000 0001"  # their mantissas, and the sign last
    )
    header = json.dumps(
        {
            "__metadata__": {
                "format": "ellq-packed",
                "version": "1",
                "header": text,
                "header_sha256": sha256(dense[:72]).hexdigest(),
            },
            "w": {"dtype": "U8", "shape": [1, 56], "data_offsets": [0, 56]},
        },
        separators=(",", ":"),
    ).encode()
    header += b" " * (-len(header) % 8)
    assert packed(dense) == len(header).to_bytes(8, "little") + header + block + sha256(WEIGHTS).digest()


def test_the_safetensors_library_opens_it_and_sees_no_weights(tmp_path):
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    path = write_packed(tmp_path / "x.safetensors", dense_file(("w", "F32", (64, 64), weights.tobytes())))
    with safe_open(path, "np") as file:
        assert file.metadata()["format"] == "ellq-packed"
        assert list(file.keys()) == ["w"]
        part = file.get_tensor("w")
    assert part.dtype == np.uint8
    assert part.shape == (1, part.size)
    assert part.tobytes()[-32:] == sha256(weights.tobytes()).digest()


def test_exponents_are_stored_near_their_entropy():
    """Of 2^17 equal draws among eight binades: three bits of exponent, and 24 of sign and mantissa that hold no order."""
    random = np.random.default_rng(0)
    words = (random.integers(120, 128, 1 << 17) << 23 | random.integers(0, 1 << 23, 1 << 17)).astype(np.uint32)
    words |= random.integers(0, 2, 1 << 17).astype(np.uint32) << 31
    file = packed(dense_file(("w", "F32", (1 << 17,), words.tobytes())))
    whole = (3 + 24) / 8 * (1 << 17)
    assert whole < len(file) < whole * 1.01


def test_a_mask_costs_its_entropy_and_zeros_nothing_more():
    random = np.random.default_rng(0)
    kept = 0.1
    words = random.integers(1, 1 << 32, 1 << 17).astype(np.uint32) * (random.random(1 << 17) < kept)
    file = packed(dense_file(("w", "U32", (1 << 17,), words.astype(np.uint32).tobytes())))
    entropy = -(kept * log2(kept) + (1 - kept) * log2(1 - kept))
    whole = (entropy / 8 + 4 * kept) * (1 << 17)
    assert 0.98 * whole < len(file) < 1.02 * whole


def test_the_limit_is_the_entropy_that_the_page_defines(tmp_path):
    """4 zeros of 8 words; the others have exponents a, a, b, b and one mantissa."""
    words = np.array([0x3F80, 0, 0x3F80, 0, 0x4080, 0, 0x4080, 0], "<u2")
    dense = dense_file(("w", "BF16", (8,), words.tobytes()))
    with PackedCheckpoint(write_packed(tmp_path / "x.safetensors", dense)) as checkpoint:
        sizes = checkpoint.sizes()
    assert sizes.limit_bytes == len(checkpoint.header) + (8 * 1 + 4 * 1 + 4 * 0 + 7) // 8


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "BOOL", "F4"])
def test_noise_takes_no_more_than_the_page_says(dtype):
    data = np.random.default_rng(0).integers(0, 256, 4096).astype(np.uint8).tobytes()
    shape = {"F64": 512, "F32": 1024, "F16": 2048, "BF16": 2048, "I64": 512, "F4": 8192}.get(dtype, 4096)
    width = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(dtype, 1)
    dense = dense_file(("w", dtype, (shape,), data))
    file = packed(dense)
    header_bytes = 8 + int.from_bytes(file[:8], "little")
    assert len(file) - header_bytes <= 4096 + 4 + 5 * (1 + width) + 32
