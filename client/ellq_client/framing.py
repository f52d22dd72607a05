"""How bytes are cut into the data frames of an upload, and into what is worked on at once."""

from ellq.v1.frames import FRAME_BYTES, framed

__all__ = ["BLOCK_BYTES", "FRAME_BYTES", "framed"]

BLOCK_BYTES = 1 << 18
"""Length of what is read of a file to be worked on: it stays in the cache until that is done."""
