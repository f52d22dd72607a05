"""The entropy coder: Zstandard, whose literals are Huffman coded."""

from types import ModuleType
from typing import Protocol

from ellq_client.counting import counted, grouped
from ellq_client.errors import ExtraMissing, SourceError
from ellq_client.packing.words import Bytes


class Compressor(Protocol):
    """Makes one frame of bytes, which tells its content size."""

    def compress(self, data: Bytes, /) -> bytes:
        """Return the frame."""
        ...


class Decompressor(Protocol):
    """Undoes it."""

    def decompress(self, data: memoryview, *, allow_extra_data: bool) -> bytes:
        """Return what a frame holds."""
        ...


def zstandard() -> ModuleType:
    """Return the package. Errors: ExtraMissing."""
    try:
        import zstandard as package
    except ImportError as missing:
        raise ExtraMissing("packed weights need zstandard: pip install 'ellq[packed]'") from missing
    return package


def compressor() -> Compressor:
    """Return a compressor for bytes without order, of which equal runs are chance: it hardly looks for any.

    Found in them, a match of seven symbols takes more bits than their Huffman codes; a table of 64 entries finds few of those,
    yet all long runs. Literals are left plain from `target_length` 1 on.
    """
    package = zstandard()
    parameters = package.ZstdCompressionParameters(
        window_log=17,
        hash_log=6,
        chain_log=6,
        search_log=1,
        min_match=7,
        target_length=0,
        strategy=package.STRATEGY_FAST,
        write_content_size=1,
        write_checksum=0,
    )
    return package.ZstdCompressor(compression_params=parameters)


def decompressor() -> Decompressor:
    """Return a decompressor: making one takes as long as a good part of a block. Errors: ExtraMissing."""
    return zstandard().ZstdDecompressor()


def expanded(frame: memoryview, length: int, by: Decompressor) -> bytes:
    """Return what one frame holds, which is `length` bytes; no more memory is taken. Errors: SourceError."""
    package = zstandard()
    try:
        if package.frame_content_size(frame) != length:  # it is what the decoder would allocate
            raise SourceError(f"a frame does not tell that it holds {counted(length, 'byte')}")
        found = by.decompress(frame, allow_extra_data=False)
    except package.ZstdError as error:
        raise SourceError(f"a frame cannot be decompressed: {error}") from error
    if len(found) != length:
        raise SourceError(f"a frame holds {counted(len(found), 'byte')} in place of {grouped(length)}")
    return found
