"""Where the bytes of an answer go when the request names an output: into the store, and the rest to the caller."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data
from ellq_server.admission import Place
from ellq_server.references.contract import Writable
from ellq_server.refusals import Defect
from ellq_server.replies import Response


async def stored_away(
    frames: AsyncIterator[Response | Data], output: Writable, place: Place, count: Callable[[int], None]
) -> AsyncGenerator[Response | Data]:
    """Yield the frames that are the caller's; the summary only once the object is whole and in its place.

    Errors: those of the frames and of Writable; Busy or TooLarge where there is no memory for the parts of a very large object.
    """
    size = sent = 0
    with ExitStack() as held:
        async for frame in frames:
            if not isinstance(frame, Response):
                await output.write(frame)
                sent += len(frame)
                count(len(frame))
                continue
            if frame.HasField("manifest"):
                size = frame.manifest.header_bytes + frame.manifest.payload_bytes
                held.enter_context(place.memory(output.memory_bytes(size)))
                await output.begin(size)
            elif frame.HasField("summary"):
                if sent != size:
                    raise Defect(f"{sent} bytes were to be stored of a stream of {size}")
                stored = await output.finish()
                frame.summary.stored.CopyFrom(
                    pb.Stored(uri=stored.uri, length_bytes=stored.length_bytes, sha256=stored.sha256, etag=stored.etag)
                )
            yield frame
