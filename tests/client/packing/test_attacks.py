"""Packed files that lie: each is refused by its name, and nothing is left behind."""

import json
import re
from hashlib import sha256
from struct import pack as packed_number

import numpy as np
import pytest
import zstandard
from tests.client.packing.conftest import packed
from tests.client.packing.test_round_trip import dense_file

from ellq_client import OutputError, SourceError, load_packed, unpack, verify
from ellq_client.networks import Input, Linear, Relu, chain
from ellq_client.packing.reading import PackedCheckpoint
from ellq_client.packing.source import PackedSource
from ellq_client.shrinking import shrink_file

COUNT = 4000
RANDOM = np.random.default_rng(0)
WORDS = (RANDOM.integers(100, 110, COUNT) << 7 | RANDOM.integers(0, 128, COUNT)).astype("<u2") * (RANDOM.random(COUNT) < 0.5)
WORDS = WORDS.astype("<u2")
DENSE = dense_file(("w", "BF16", (40, 100), WORDS.tobytes()), ("b", "U8", (3,), b"abc"))


def apart(file: bytes) -> tuple[dict, bytes]:
    end = 8 + int.from_bytes(file[:8], "little")
    return json.loads(file[8:end]), file[end:]


def joined(entries: dict | str, payload: bytes) -> bytes:
    text = (entries if isinstance(entries, str) else json.dumps(entries)).encode()
    return len(text).to_bytes(8, "little") + text + payload


def section(coding: int, content: bytes) -> bytes:
    return packed_number("<BI", coding, len(content)) + content


def with_block(*sections: bytes, behind: bytes = b"") -> bytes:
    """Return a packed file of 64 bytes, all zero by their digest, whose only block has these sections."""
    content = b"".join(sections)
    part = packed_number("<I", len(content)) + content + behind + sha256(bytes(64)).digest()
    entries, _ = apart(packed(dense_file(("w", "U8", (64,), bytes(64)))))
    entries["w"] = {"dtype": "U8", "shape": [1, len(part)], "data_offsets": [0, len(part)]}
    return joined(entries, part)


def refused(tmp_path, file: bytes, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(file)
    for read in (load_packed, lambda path: unpack(path, tmp_path / "out.safetensors")):
        with pytest.raises(SourceError, match=message) as caught:
            read(path)
        assert "bad.safetensors" in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["bad.safetensors"]


EVERY = section(3, b"")


def test_the_blocks_made_here_are_good_otherwise(tmp_path):
    for last in (section(0, bytes(64)), section(1, frame(bytes(64))), section(2, bytes(19) + frame(bytes(32)))):
        (tmp_path / "x.safetensors").write_bytes(with_block(EVERY, last))
        assert load_packed(tmp_path / "x.safetensors")["w"].tobytes() == bytes(64)


def frame(data: bytes, **options) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


BOMB = frame(bytes(1 << 20))
"""A mebibyte from some twenty bytes."""


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ((section(0, bytes(8)),), "ends after 1 of 2 sections"),
        ((EVERY, section(0, bytes(60)), b"x"), "after the last section of a block: 1 byte"),
        ((EVERY, b"\0\xff\xff\xff\xffabcd"), "leads out of its block"),
        ((EVERY, section(0, bytes(63))), "has 63 bytes in place of 64"),
        ((EVERY, section(7, bytes(64))), "coding 7"),
        ((EVERY, section(3, bytes(64))), "coding 3"),
        ((section(3, b"x"), section(0, bytes(60))), "coding 3"),
        ((section(0, b"\x07" + bytes(7)), section(0, bytes(4))), "has 4 bytes in place of 3"),
        ((section(0, bytes(7)), section(0, b"")), "has 7 bytes in place of 8"),
        ((EVERY, section(1, bytes(64))), "cannot be decompressed|does not tell"),
        ((EVERY, section(1, BOMB)), "does not tell that it holds 64 bytes"),
        ((EVERY, section(1, frame(bytes(64), write_content_size=False))), "does not tell that it holds 64 bytes"),
        ((EVERY, section(1, frame(bytes(65)))), "does not tell that it holds 64 bytes"),
        ((EVERY, section(1, frame(bytes(64)) + b"more")), "cannot be decompressed"),
        ((EVERY, section(1, frame(bytes(64))[:-1])), "cannot be decompressed"),
        ((EVERY, section(0, bytes(63) + b"x")), "do not have their digest"),
    ],
)
def test_blocks_that_lie(tmp_path, sections, message):
    refused(tmp_path, with_block(*sections), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short", "pairs is cut off"),
        (bytes(range(15)) + packed_number("<I", 1 << 31), "pairs is cut off"),
        (bytes(range(15)) + packed_number("<I", 1) + b"q" + frame(bytes(32)), "1 rare symbol for 0 places"),
        (bytes(range(15)) + packed_number("<I", 0) + frame(b"\x0f" + bytes(31)), "0 rare symbols for 1 place"),
        (bytes(range(15)) + packed_number("<I", 0) + frame(bytes(33)), "does not tell that it holds 32 bytes"),
    ],
)
def test_pairs_that_lie(tmp_path, content, message):
    refused(tmp_path, with_block(EVERY, section(2, content)), message)


def change(entries: dict, payload: bytes, path: str, value: object) -> bytes:
    *places, last = path.split(".")
    place = entries
    for key in places:
        place = place[key]
    place[last] = value
    return joined(entries, payload)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("__metadata__.version", "2", "is packed in version '2'; this ellq reads '1'"),
        ("__metadata__.version", 1, "is packed in version 1"),
        ("__metadata__.header", "{}", "does not have its digest"),
        ("__metadata__.header", 3, "does not hold together"),
        ("__metadata__.header_sha256", None, "does not have its digest"),
        ("w.dtype", "I8", "'w' is I8"),
        ("w.shape", "flat", "'w' is U8 of shape"),
    ],
)
def test_headers_that_lie(tmp_path, path, value, message):
    entries, payload = apart(packed(DENSE))
    if value == "flat":
        value = [entries["w"]["shape"][1]]
    refused(tmp_path, change(entries, payload, path, value), message)


def described(header: dict | str, entries: dict, payload: bytes) -> bytes:
    """Return a packed file that claims this dense header, with its digest."""
    text = header if isinstance(header, str) else json.dumps(header)
    digest = sha256(len(text.encode()).to_bytes(8, "little") + text.encode()).hexdigest()
    metadata = {"format": "ellq-packed", "version": "1", "header": text, "header_sha256": digest}
    return joined({"__metadata__": metadata, **entries}, payload)


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("[]", "no safetensors file"),
        ("nonsense", "no safetensors file"),
        ({"w": entry("U8", [4], 1, 5)}, "wrong place or length"),
        ({"w": entry("U8", [5], 0, 4)}, "wrong place or length"),
        ({"v": entry("U8", [4], 0, 4)}, "parts are not those of its tensors"),
        ({"w": entry("U8", [4], 0, 4), "v": entry("U8", [1], 4, 5)}, "parts are not those of its tensors"),
        ({"w": entry("U8", [1 << 50], 0, 1 << 50)}, "'w' has 45 bytes, allowed are"),  # nothing so large fits in so little
        ({"w": entry("U8", [1], 0, 1)}, r"'w' has 50 bytes, allowed are 46 to 47"),
    ],
)
def test_dense_headers_that_lie(tmp_path, header, message):
    length = 45 if "45" in message else 50
    file = described(header, {"w": entry("U8", [1, length], 0, length)}, bytes(length))
    refused(tmp_path, file, message)


def test_names_that_come_twice(tmp_path):
    entries, payload = apart(packed(dense_file(("w", "U8", (0,), b""))))
    text = json.dumps(entries)
    twice = text[:-1] + ',"w":' + json.dumps(entries["w"]) + "}"
    refused(tmp_path, joined(twice, payload), "names 'w' twice")


def test_a_part_longer_than_plain_is_refused(tmp_path):
    many = section(2, bytes(range(15)) + packed_number("<I", 64) + bytes(64) + frame(b"\xff" * 32))
    refused(tmp_path, with_block(EVERY, many), "has .* bytes, allowed are")


def test_nothing_hides_between_the_last_block_and_the_digest(tmp_path):
    hidden = with_block(EVERY, section(1, frame(bytes(64))), behind=b"12345")
    refused(tmp_path, hidden, "packed tensor 'w': after its last block: 5 bytes")


def test_every_flipped_bit_is_noticed_or_means_nothing(tmp_path):
    """Bits that fill up the last byte of a mask, or of a row of pairs, mean nothing."""
    file = packed(DENSE)
    begin = 8 + int.from_bytes(file[:8], "little")
    path = tmp_path / "x.safetensors"
    path.write_bytes(file)
    good = {name: array.tobytes() for name, array in load_packed(path).items()}
    refusals = 0
    for place in range(begin, len(file), 7):
        path.write_bytes(file[:place] + bytes([file[place] ^ 1 << place % 8]) + file[place + 1 :])
        try:
            found = {name: array.tobytes() for name, array in load_packed(path).items()}
        except SourceError:
            refusals += 1
        else:
            assert found == good
    assert refusals > (len(file) - begin) // 7 - 3


@pytest.mark.parametrize("cut", [1, 40, 700])
def test_a_file_that_was_cut_off(tmp_path, cut):
    refused(tmp_path, packed(DENSE)[:-cut], "cut off|no safetensors file")


def test_what_is_not_packed(tmp_path):
    refused(tmp_path, DENSE, re.escape("is not packed"))


LARGE = dense_file(("a", "F32", (512, 600), RANDOM.normal(size=(512, 600)).astype("<f4").tobytes()))
"""More than two blocks."""


def damaged(path, dense: bytes):
    """Write a packed file with one wrong bit in the last plane of its first block, which every coding of it lets through."""
    file = bytearray(packed(dense))
    begin = 8 + int.from_bytes(file[:8], "little")
    length = int.from_bytes(file[begin : begin + 4], "little")
    file[begin + 3 + length] ^= 4
    path.write_bytes(file)
    return path


def test_no_way_to_read_lets_a_damaged_byte_pass(tmp_path):
    path = damaged(tmp_path / "bad.safetensors", LARGE)
    source = PackedSource(path)
    with PackedCheckpoint(path) as opened:
        (tensor,) = opened.tensors
        for read in (
            lambda: opened.read(tensor.begin, 4),
            lambda: opened.read(tensor.end - 4, 4),
            lambda: list(opened.pieces(tensor.begin, tensor.end)),
            lambda: opened.digest(tensor.begin, tensor.begin + 4),
            lambda: opened.digest(tensor.begin, tensor.end),
            opened.sizes,
            lambda: next(iter(source.pieces(tensor))),
            lambda: list(source.frames()),
        ):
            with pytest.raises(SourceError, match=r"bad\.safetensors is damaged: packed tensor 'a': its bytes do not have"):
                read()


def test_verify_reads_the_digests_of_both(tmp_path):
    good, bad = tmp_path / "good.safetensors", damaged(tmp_path / "bad.safetensors", LARGE)
    good.write_bytes(LARGE)
    for pair in ((good, bad), (bad, good), (bad, bad)):
        with pytest.raises(SourceError, match=r"bad\.safetensors is damaged"):
            verify(*pair)


def test_shrink_writes_nothing_of_a_damaged_file(tmp_path):
    weights = np.ones((3, 2), "<f4"), np.array([[1, 0, 2]], "<f4")
    dense = dense_file(("a.weight", "F32", (3, 2), weights[0].tobytes()), ("b.weight", "F32", (1, 3), weights[1].tobytes()))
    network = chain(Input(2), Linear("a.weight"), Relu(), Linear("b.weight"))
    path, out, beside = (tmp_path / name for name in ("x.safetensors", "out.safetensors", "out.json"))
    path.write_bytes(packed(dense))
    assert shrink_file(path, out, network, beside)
    out.unlink()
    with pytest.raises(SourceError, match=r"is damaged: packed tensor 'a\.weight'"):
        shrink_file(damaged(path, dense), out, network, beside)
    assert not out.exists()


@pytest.mark.parametrize(
    "shape", ["[0,1e26]", "[0,100000000000000000000000000]", "[0,-3]", "[4.7]", "[true]", '["4"]', f"[{'1,' * 32}0]", "4"]
)
def test_shapes_that_are_none(tmp_path, shape):
    digest = sha256().digest()
    text = f'{{"w":{{"dtype":"U8","shape":{shape},"data_offsets":[0,0]}}}}'
    refused(tmp_path, described(text, {"w": entry("U8", [1, 32], 0, 32)}, digest), "tensor 'w' has shape .* allowed is a list")


def test_two_sizes_below_zero(tmp_path):
    text = '{"w":{"dtype":"U8","shape":[-2,-2],"data_offsets":[0,4]}}'
    refused(tmp_path, described(text, {"w": entry("U8", [1, 50], 0, 50)}, bytes(50)), "tensor 'w' has shape")


def test_a_shape_that_numpy_cannot_hold(tmp_path):
    text = f'{{"w":{{"dtype":"U8","shape":[0,{1 << 62},{1 << 62}],"data_offsets":[0,0]}}}}'
    path = tmp_path / "x.safetensors"
    path.write_bytes(described(text, {"w": entry("U8", [1, 32], 0, 32)}, sha256().digest()))
    with pytest.raises(OutputError, match=r"tensor 'w' has shape .*, which numpy cannot hold"):
        load_packed(path)
