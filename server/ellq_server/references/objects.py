"""Objects of S3, Google Cloud Storage and Azure, through obstore.

A URI gives bucket and key. Endpoint, region and credentials come from the environment of the process alone.
"""

import asyncio
import os
from datetime import timedelta
from typing import Any

from ellq.v1.frames import Data
from ellq_server.references.allowed import Admitted
from ellq_server.references.failures import changed, told, unavailable

ATTEMPTS = 3
"""How often a request is tried, within its time."""


def open_store(scheme: str, place: str, *, seconds: float) -> Any:
    """Return the store of a bucket or container; nothing is sent. `seconds` is the longest time that one request may take."""
    from obstore import store  # here, because it takes memory that a server without references does not need

    options: dict[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=min(seconds, 10.0)),
            "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
        },
        "retry_config": {"max_retries": ATTEMPTS - 1, "retry_timeout": timedelta(seconds=seconds)},
    }
    if scheme == "s3":
        # the store compares the digest of every part with what arrives
        return store.S3Store(place, config={"checksum_algorithm": "sha256"}, **options)
    return store.GCSStore(place, **options) if scheme == "gs" else store.AzureStore(container_name=place, **options)


class ObjectReader:
    """One version of an object: every range is asked for under the entity tag of the first answer."""

    def __init__(self, store: Any, admitted: Admitted, *, seconds: float) -> None:
        self._store, self._admitted, self._seconds = store, admitted, seconds
        self._etag = ""
        self.size_bytes = 0

    async def open(self) -> "ObjectReader":
        """Ask how long the object is and which version it is. Errors: those of Readable.read."""
        import obstore

        async with told(self._admitted, "asked for its size"), asyncio.timeout(self._seconds):
            meta = await obstore.head_async(self._store, self._admitted.reference.key)
        if not meta["e_tag"]:
            raise unavailable(self._admitted, "its store names no version of it, so a change could go unnoticed")
        self.size_bytes, self._etag = meta["size"], meta["e_tag"]
        return self

    async def read(self, begin: int, end: int) -> Data:
        """Return these bytes of this version."""
        import obstore

        doing = f"asked for bytes {begin} to {end}"
        async with told(self._admitted, doing), asyncio.timeout(self._seconds):
            options: Any = {"range": (begin, end), "if_match": self._etag}
            answer = await obstore.get_async(self._store, self._admitted.reference.key, options=options)
            # a store that does not know If-Match sends what it has
            if (answer.meta["e_tag"], answer.meta["size"]) != (self._etag, self.size_bytes):
                raise changed(self._admitted)
            data = memoryview(await answer.bytes_async())
        if len(data) != end - begin:
            raise unavailable(self._admitted, f"its store sent {len(data)} bytes, {doing}")
        return data

    async def close(self) -> None:
        """Nothing to let go of: the store keeps the connections for the next call."""
