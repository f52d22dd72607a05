"""A reader of packed files written from docs/packed.md alone: one byte after the other, and nothing of the package."""

import json
from collections import deque
from hashlib import sha256

import zstandard

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "C64": 4, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}
TURNED = ("F64", "F32", "F16", "BF16", "C64")


def unpacked(file: bytes) -> bytes:
    """Return the dense file."""
    end = 8 + int.from_bytes(file[:8], "little")
    entries = json.loads(file[8:end])
    metadata = entries.pop("__metadata__")
    assert (metadata["format"], metadata["version"]) == ("ellq-packed", "1")
    text = metadata["header"].encode()
    header = len(text).to_bytes(8, "little") + text
    assert sha256(header).hexdigest() == metadata["header_sha256"]
    tensors = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
    dense = bytearray()
    for name in sorted(tensors, key=lambda name: tensors[name]["data_offsets"]):
        first, last = (end + offset for offset in entries[name]["data_offsets"])
        length = tensors[name]["data_offsets"][1] - tensors[name]["data_offsets"][0]
        dense += _tensor(file[first:last], length, tensors[name]["dtype"])
    return header + bytes(dense)


def _tensor(part: bytes, length: int, dtype: str) -> bytes:
    width = WIDTHS.get(dtype, 1)
    data, digest = deque(part[:-32]), part[-32:]
    dense = bytearray()
    while len(dense) < length:
        block = deque(_take(data, _number(data)))
        count = min((length - len(dense)) // width, 131072)
        mask = _section(block, (count + 7) // 8)
        kept = [place for place in range(count) if mask is None or mask[place // 8] >> place % 8 & 1]
        planes = [_section(block, len(kept)) for _ in range(width)]
        assert not block
        words = [0] * count
        for place, parts in zip(kept, zip(*planes, strict=True), strict=True):
            word = int.from_bytes(bytes(parts), "big")
            words[place] = (word >> 1) | (word & 1) << (8 * width - 1) if dtype in TURNED else word
        dense += b"".join(word.to_bytes(width, "little") for word in words)
    assert not data
    assert sha256(dense).digest() == digest
    return bytes(dense)


def _section(block: deque, length: int) -> bytes | None:
    coding = block.popleft()
    content = deque(_take(block, _number(block)))
    if coding == 3:
        assert not content
        return None
    if coding == 0:
        plain = bytes(content)
    elif coding == 1:
        plain = zstandard.decompress(bytes(content))
    else:
        assert coding == 2
        symbols = _take(content, 15)
        others = deque(_take(content, _number(content)))
        pairs = zstandard.decompress(bytes(content))
        nibbles = [nibble for pair in pairs for nibble in (pair & 15, pair >> 4)][:length]
        plain = bytes(others.popleft() if nibble == 15 else symbols[nibble] for nibble in nibbles)
        assert not others
    assert len(plain) == length
    return plain


def _take(data: deque, count: int) -> bytes:
    return bytes(data.popleft() for _ in range(count))


def _number(data: deque) -> int:
    return int.from_bytes(_take(data, 4), "little")
