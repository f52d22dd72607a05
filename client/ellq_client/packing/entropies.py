"""How small order-0 coding can make a tensor: the measure that stored sizes are held against."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, fsum
from typing import Any

import numpy as np

from ellq_client.counting import counted, grouped
from ellq_client.packing.words import WordKind, Words, kept_of, split


@dataclass(frozen=True, slots=True)
class PackedSizes:
    """What packing made of a file, or of several."""

    logical_bytes: int
    """Length when unpacked."""
    stored_bytes: int
    """Length as packed."""
    limit_bytes: int
    """Length that order-0 entropy coding of every tensor could reach: its mask, and each plane of its words by itself."""

    @property
    def ratio(self) -> float:
        """How many times smaller the packed file is."""
        return self.logical_bytes / self.stored_bytes

    def told(self) -> str:
        """Return all of it for a person."""
        logical, stored, limit = counted(self.logical_bytes, "byte"), grouped(self.stored_bytes), grouped(self.limit_bytes)
        return f"{logical} packed in {stored} ({self.ratio:.2f}x; order-0 entropy {limit})"


def together(sizes: Sequence[PackedSizes]) -> PackedSizes:
    """Return the sizes of several files."""
    return PackedSizes(
        logical_bytes=sum(one.logical_bytes for one in sizes),
        stored_bytes=sum(one.stored_bytes for one in sizes),
        limit_bytes=sum(one.limit_bytes for one in sizes),
    )


def limit_bytes_of(header_bytes: int, entropy_bits: Iterable[float]) -> int:
    """Return the limit of a file: its header as it is, and the entropy of each of its tensors."""
    return header_bytes + ceil(fsum(entropy_bits) / 8)


class Tally:
    """Counts what is in the words of one tensor."""

    def __init__(self, kind: WordKind) -> None:
        """Begin with no words."""
        self._kind = kind
        self._words = self._zeros = 0
        self._counts = np.zeros((kind.width, 256), np.int64)

    def count(self, words: Words) -> None:
        """Count these words."""
        kept = kept_of(words)
        planes = split(words[kept], self._kind)
        counts = [np.bincount(plane, minlength=256) for plane in planes]
        self.add(len(words), len(words) - len(kept), counts, zeros_counted=False)

    def add(self, words: int, zeros: int, counts: Sequence[Any], *, zeros_counted: bool) -> None:
        """Add a block of `words`, `zeros` of them 0, by the counts of each plane; with its zeros in them or without."""
        self._words += words
        self._zeros += zeros
        self._counts += np.stack(counts)
        if zeros_counted:
            self._counts[:, 0] -= zeros

    @property
    def entropy_bits(self) -> float:
        """N h(K/N) + sum over planes of K H(plane): N words, K of them not zero, whose planes have order-0 entropy H."""
        return fsum([_bits([self._zeros, self._words - self._zeros]), *(_bits(counts.tolist()) for counts in self._counts)])


def _bits(counts: Sequence[int]) -> float:
    """Return n H, for n things of which so many are equal each."""
    found = np.array([count for count in counts if count], np.float64)
    return float(-(found * np.log2(found / found.sum())).sum()) if len(found) > 1 else 0.0
