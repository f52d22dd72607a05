"""What tensors are made of, as the packed layout sees it: words, and planes of their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ellq.v1.safetensors import DTYPE_BITS

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[Any]
"""Unsigned integers, little-endian."""

BLOCK_WORDS = 1 << 17
"""Words of a block; the last one of a tensor may have fewer."""

_FLOATS = frozenset({"F64", "F32", "F16", "BF16", "C64"})


@dataclass(frozen=True, slots=True)
class WordKind:
    """How the bytes of a tensor are taken apart."""

    width: int
    """Bytes of a word: 1, 2, 4 or 8."""
    turned: bool
    """Whether the sign goes from the top of a word to its end, so that the bits of the exponent fill the first byte."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The words as numpy has them."""
        return np.dtype(f"<u{self.width}")


def kind_of(dtype: str) -> WordKind:
    """Return the words of a safetensors dtype: its elements, halves of a complex one, bytes of what has no whole ones."""
    bits = 32 if dtype == "C64" else DTYPE_BITS.get(dtype, 8)
    return WordKind(width=max(bits // 8, 1) if bits % 8 == 0 else 1, turned=dtype in _FLOATS)


def split(words: Words, kind: WordKind) -> list[Bytes]:
    """Return the planes of words: their bytes by place, from the most significant one on, signs turned to the end."""
    if kind.turned:
        words = (words << 1) | (words >> (8 * kind.width - 1))
    bytes_ = words.view(np.uint8).reshape(-1, kind.width)
    return [np.ascontiguousarray(bytes_[:, place]) for place in reversed(range(kind.width))]


def join(planes: Sequence[Bytes], kind: WordKind) -> Words:
    """Return the words of planes: the inverse of `split`."""
    words: Words = planes[0].astype(kind.dtype)
    for plane in planes[1:]:
        words <<= 8
        words |= plane
    if kind.turned:
        signs = words << (8 * kind.width - 1)
        words >>= 1
        words |= signs
    return words


def kept_of(words: Words) -> npt.NDArray[np.intp]:
    """Return the places of words that are not zero. By places numpy gathers and scatters several times as fast as by masks."""
    return np.flatnonzero(words)


def spread(words: Words, mask: npt.NDArray[np.bool_]) -> Words:
    """Return the words where the mask is true, and zeros elsewhere."""
    whole = np.zeros(len(mask), words.dtype)
    whole[np.flatnonzero(mask)] = words
    return whole
