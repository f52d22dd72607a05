"""One section of a block: a run of bytes whose length the reader knows, in the coding that takes the fewest.

    plain       the bytes
    zstd        one Zstandard frame that tells its content size
    pairs       the 15 most frequent symbols | number of others | those others, in order | a Zstandard frame of nibbles:
                two symbols a byte, the first in the low half; 15 stands for the next one of the others
    every       of a mask alone: no word is left out; nothing follows

A section is one byte for its coding and four for its length, then its content. Numbers are little-endian.
"""

from struct import Struct
from typing import Any

import numpy as np

from ellq_client.counting import counted, grouped
from ellq_client.errors import SourceError
from ellq_client.packing.words import Bytes
from ellq_client.packing.zstd import Compressor, Decompressor, expanded

PLAIN, ZSTD, PAIRS, EVERY = range(4)

HEAD = Struct("<BI")
_COUNT = Struct("<I")
_FREQUENT = 15
_MOST_RARE = 16
"""Pairs are worth a try up to one rare symbol in so many."""
_LEAST_SAVED = 64
"""A coding that saves less than one byte in so many is not worth the time to decode it."""


def write_section(plain: Bytes, counts: Any, by: Compressor) -> bytes:
    """Return the section of these bytes, `counts` of which have each of 256 values."""
    coding, content = PLAIN, plain.tobytes()
    frequent = np.argsort(-counts, kind="stable")[:_FREQUENT].astype(np.uint8)
    rare = len(plain) - int(counts[frequent].sum())
    if rare * _MOST_RARE > len(plain):
        coding, content = ZSTD, by.compress(plain)
    elif len(plain):
        coding, content = PAIRS, _paired(plain, frequent, rare, by)
    if len(content) > len(plain) - len(plain) // _LEAST_SAVED:
        coding, content = PLAIN, plain.tobytes()
    return HEAD.pack(coding, len(content)) + content


def write_every() -> bytes:
    """Return the section of a mask that leaves out no word."""
    return HEAD.pack(EVERY, 0)


def read_section(coding: int, content: memoryview, length: int, by: Decompressor) -> Bytes:
    """Return the `length` bytes of a section. Errors: SourceError."""
    if coding == PLAIN:
        if len(content) != length:
            raise SourceError(f"a section has {counted(len(content), 'byte')} in place of {grouped(length)}")
        return np.frombuffer(content, np.uint8)
    if coding == ZSTD:
        return np.frombuffer(expanded(content, length, by), np.uint8)
    if coding == PAIRS:
        return _unpaired(content, length, by)
    raise SourceError(f"a section has coding {coding}; known are {PLAIN} to {PAIRS}, and {EVERY} for a mask")


def _paired(plain: Bytes, frequent: Bytes, rare: int, by: Compressor) -> bytes:
    nibble_of = np.full(256, _FREQUENT, np.uint8)
    nibble_of[frequent] = np.arange(_FREQUENT, dtype=np.uint8)
    nibbles = np.zeros(len(plain) + len(plain) % 2, np.uint8)
    np.take(nibble_of, plain, out=nibbles[: len(plain)], mode="clip")
    others = plain[nibbles[: len(plain)] == _FREQUENT].tobytes() if rare else b""
    pairs: Bytes = nibbles[0::2] | np.left_shift(nibbles[1::2], 4, dtype=np.uint8)
    frame = by.compress(pairs)
    return frequent.tobytes() + _COUNT.pack(rare) + others + frame


def _unpaired(content: memoryview, length: int, by: Decompressor) -> Bytes:
    start = _FREQUENT + _COUNT.size
    rare = _COUNT.unpack_from(content, _FREQUENT)[0] if len(content) >= start else 0
    if len(content) < start + rare or rare > length:
        raise SourceError(f"a section of pairs is cut off: {counted(len(content), 'byte')}")
    symbols = np.frombuffer(content[:_FREQUENT], np.uint8)
    stand_in = min(set(range(_FREQUENT + 1)).difference(symbols.tolist()))  # for a rare symbol: none of the frequent ones
    table = np.append(symbols, np.uint8(stand_in))
    both = np.empty((256, 2), np.uint8)
    both[:, 0], both[:, 1] = table[np.arange(256) & 15], table[np.arange(256) >> 4]
    pairs = np.frombuffer(expanded(content[start + rare :], -(-length // 2), by), np.uint8)
    found = both.view(np.uint16).reshape(-1).take(pairs).view(np.uint8)[:length]
    places = np.flatnonzero(found == stand_in)
    if len(places) != rare:
        raise SourceError(f"a section of pairs has {counted(rare, 'rare symbol')} for {counted(len(places), 'place')}")
    found[places] = np.frombuffer(content[start : start + rare], np.uint8)
    return found
