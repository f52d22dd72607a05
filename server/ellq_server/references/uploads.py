"""Objects on their way into a store: uploads in parts."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ellq.v1.frames import Data
from ellq_server.references.allowed import Admitted
from ellq_server.references.contract import Stored
from ellq_server.references.failures import exists, told, unavailable
from ellq_server.references.hashing import RunningDigest
from ellq_server.references.objects import ATTEMPTS
from ellq_server.references.steps import heard

PART_BYTES = 8 << 20
"""Bytes of a part, unless the object is so large that its parts would be too many."""

MOST_PARTS = 9_000
"""Below the 10 000 that stores allow."""

PARTS_AHEAD = 3
"""Parts that are sent at the same time; one more fills meanwhile."""


class ObjectWriter:
    """An upload in parts, completed at the end or aborted. Lives in a task of its own, so that it can always be aborted."""

    def __init__(self, store: Any, admitted: Admitted, *, replace: bool, seconds: float) -> None:
        self._store, self._admitted, self._replace, self._seconds = store, admitted, replace, seconds
        self._parts: asyncio.Queue[Data | None] = asyncio.Queue(1)
        self._upload: asyncio.Task[Any] | None = None
        self._given_up = False
        self._digest = RunningDigest()

    def memory_bytes(self, size_bytes: int) -> int:
        """Return what parts longer than usual take."""
        return (PARTS_AHEAD + 1) * (part_bytes(size_bytes) - PART_BYTES)

    async def begin(self, size_bytes: int) -> None:
        """Begin the upload."""
        await self._check_place()
        if self._replace or size_bytes > PART_BYTES:
            how = {"use_multipart": True, "chunk_size": part_bytes(size_bytes), "max_concurrency": PARTS_AHEAD}
        else:  # fits one request, on which the store itself can put the condition; obstore has none for uploads in parts
            how = {"use_multipart": False, "mode": "create"}
        self._upload = asyncio.create_task(self._put(how))
        self._upload.add_done_callback(heard)

    async def write(self, data: Data) -> None:
        """Hand bytes to the upload; waits while all parts are under way."""
        await self._hand(data)
        await self._digest.update(data)

    async def finish(self) -> Stored:
        """Complete the upload and compare what the store says is there now."""
        import obstore

        await self._check_place()
        await self._hand(None)
        assert self._upload is not None
        async with told(self._admitted, "asked to complete the upload"), asyncio.timeout(ATTEMPTS * self._seconds):
            await asyncio.wait([self._upload])  # not `await`: a cancelled call must not cancel what is being completed
            put = self._upload.result()
            meta = await obstore.head_async(self._store, self._admitted.reference.key)
        if (meta["size"], meta["e_tag"]) != (self._digest.length_bytes, put["e_tag"]):
            raise unavailable(self._admitted, "its store holds something else than what was just written: somebody replaced it")
        uri = str(self._admitted.reference)
        return Stored(uri, self._digest.length_bytes, self._digest.value(), put["e_tag"] or "")

    async def abort(self) -> None:
        """End the upload and have the store throw its parts away; waits until that is done."""
        if self._upload is None or self._upload.done():
            return
        self._given_up = True
        if self._parts.empty():
            self._parts.put_nowait(None)
        await asyncio.wait([self._upload], timeout=ATTEMPTS * self._seconds)
        self._upload.cancel()  # of a store that does not even answer that

    async def _check_place(self) -> None:
        """Refuse to replace an object, unless that is wanted. Errors: ReferenceRefused (OUTPUT_EXISTS), those of the store."""
        if self._replace:
            return
        import obstore
        from obstore.exceptions import NotFoundError

        async with told(self._admitted, "asked whether it exists"), asyncio.timeout(ATTEMPTS * self._seconds):
            try:
                await obstore.head_async(self._store, self._admitted.reference.key)
            except (FileNotFoundError, NotFoundError):  # obstore raises the former
                return
        raise exists(self._admitted)

    async def _hand(self, data: Data | None) -> None:
        """Put bytes into the queue, unless the upload ends first, which it only does by failing."""
        assert self._upload is not None, "begin() comes first"
        handing = asyncio.ensure_future(self._parts.put(data))
        try:
            async with told(self._admitted, "sent bytes"), asyncio.timeout(ATTEMPTS * self._seconds):
                await asyncio.wait([handing, self._upload], return_when=asyncio.FIRST_COMPLETED)
                if not handing.done():
                    self._upload.result()
        finally:
            handing.cancel()

    async def _put(self, how: dict[str, Any]) -> Any:
        import obstore

        async def parts() -> AsyncIterator[Data]:
            while (data := await self._parts.get()) is not None and not self._given_up:
                yield data
            if self._given_up:
                raise _GivenUp

        key = self._admitted.reference.key
        try:
            return await obstore.put_async(self._store, key, parts(), **how)
        except _GivenUp:
            return None


class _GivenUp(Exception):
    """Tells obstore that nothing more comes: it aborts the upload."""


def part_bytes(size_bytes: int) -> int:
    """Return how long the parts of an object are: whole mebibytes, and not too many of them."""
    return max(PART_BYTES, -(-size_bytes // MOST_PARTS >> 20) + 1 << 20 if size_bytes > MOST_PARTS * PART_BYTES else 0)
