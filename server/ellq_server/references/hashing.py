"""The digest of what is written, added up beside the event loop."""

import asyncio
from hashlib import sha256

from ellq.v1.frames import Data


class RunningDigest:
    """SHA-256 and length of bytes that come one after the other."""

    def __init__(self) -> None:
        self._hash = sha256()
        self.length_bytes = 0

    async def update(self, data: Data) -> None:
        """Add bytes; health checks are answered meanwhile."""
        await asyncio.to_thread(self._hash.update, data)
        self.length_bytes += len(data)

    def value(self) -> bytes:
        """Return the SHA-256 of all that came."""
        return self._hash.digest()
