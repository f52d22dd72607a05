"""A block: which of its words are not zero, and the planes of those.

    length of what follows, 4 bytes | section of the mask | a section for every plane, the most significant first

The mask has a bit for every word, the lowest of a byte first; where it pays to keep zeros among the others there is none.
"""

from struct import Struct

import numpy as np
import numpy.typing as npt

from ellq_client.counting import counted
from ellq_client.errors import SourceError
from ellq_client.packing.entropies import Tally
from ellq_client.packing.sections import EVERY, HEAD, read_section, write_every, write_section
from ellq_client.packing.words import Bytes, WordKind, Words, join, split, spread
from ellq_client.packing.zstd import Compressor, Decompressor

LENGTH = Struct("<I")


def overhead_bytes(kind: WordKind) -> int:
    """Return what a block takes beside its content."""
    return LENGTH.size + (1 + kind.width) * HEAD.size


def write_block(words: Words, kind: WordKind, by: Compressor, tally: Tally) -> bytes:
    """Return the block of these words and count them. At most `overhead_bytes` longer than they are."""
    mask = words != 0
    zeros = len(words) - int(np.count_nonzero(mask))
    masked = zeros * 8 * kind.width > len(words)
    sections = [_write_mask(mask, by) if masked else write_every()]
    planes = split(words[np.flatnonzero(mask)] if masked else words, kind)
    counts = [np.bincount(plane, minlength=256) for plane in planes]
    sections += [write_section(plane, count, by) for plane, count in zip(planes, counts, strict=True)]
    tally.add(len(words), zeros, counts, zeros_counted=not masked)
    content = b"".join(sections)
    return LENGTH.pack(len(content)) + content


def read_block(content: memoryview, count: int, kind: WordKind, by: Decompressor) -> Words:
    """Return the `count` words of a block without its length. Errors: SourceError."""
    sections = _sections(content, 1 + kind.width)
    mask = _read_mask(*sections[0], count, by)
    kept = count if mask is None else int(np.count_nonzero(mask))
    planes = [read_section(coding, data, kept, by) for coding, data in sections[1:]]
    words = join(planes, kind)
    return words if mask is None else spread(words, mask)


def _write_mask(mask: npt.NDArray[np.bool_], by: Compressor) -> bytes:
    bits = np.packbits(mask, bitorder="little")
    return write_section(bits, np.bincount(bits, minlength=256), by)


def _read_mask(coding: int, content: memoryview, count: int, by: Decompressor) -> npt.NDArray[np.bool_] | None:
    if coding == EVERY and not len(content):
        return None
    bits: Bytes = read_section(coding, content, -(-count // 8), by)
    return np.unpackbits(bits, count=count, bitorder="little").view(np.bool_)


def _sections(content: memoryview, count: int) -> list[tuple[int, memoryview]]:
    """Return coding and content of every section. Errors: SourceError when they do not fill the block."""
    found: list[tuple[int, memoryview]] = []
    place = 0
    for _ in range(count):
        if len(content) < place + HEAD.size:
            raise SourceError(f"a block ends after {len(found)} of {counted(count, 'section')}")
        coding, length = HEAD.unpack_from(content, place)
        place += HEAD.size + length
        if place > len(content):
            raise SourceError(f"a section of {counted(length, 'byte')} leads out of its block")
        found.append((coding, content[place - length : place]))
    if place != len(content):
        raise SourceError(f"after the last section of a block: {counted(len(content) - place, 'byte')}")
    return found
