"""The frames of a request in the order of the contract: options, moments, data."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

from ellq.v1 import compression_pb2 as pb
from ellq_server.admission import Place
from ellq_server.limits import MOMENTS_AT_HAND
from ellq_server.moments import MomentsReader, invalid_moments
from ellq_server.refusals import InvalidRequest, TruncatedStream
from ellq_server.requests import Received

RequestFrame = pb.AnalyzeRequest | pb.CompressRequest | memoryview
"""Data is a view of its bytes."""


class Incoming:
    """The frames of one call. First the options are asked for, then the moments, then the data."""

    def __init__(self, frames: AsyncIterator[RequestFrame], *, idle_seconds: float) -> None:
        """Take the frames; `idle_seconds` is how long the client may send nothing before there are data."""
        self._frames = frames
        self._idle_seconds = idle_seconds
        self._behind_moments: RequestFrame | None = None

    @property
    def data_came(self) -> bool:
        """Whether a frame came behind the moments; until somebody takes it."""
        return self._behind_moments is not None

    async def options(self) -> pb.AnalyzeOptions | pb.CompressOptions:
        """Return the options. Errors: InvalidRequest (MISSING_OPTIONS, EMPTY_FRAME), TruncatedStream."""
        first = await self._next(waiting_for="options")
        kind = None if first is None else _kind_of(first)
        if first is None or kind in ("data", "moments"):
            came = "the stream ended" if first is None else f"{kind} came"
            raise InvalidRequest(
                f"{came} before options: the first frame must be options", reason="MISSING_OPTIONS", field="options"
            )
        if isinstance(first, memoryview) or kind is None:
            raise _empty_frame()
        return first.options

    async def moments(self, most_bytes: int, place: Place, held: ExitStack) -> Received:
        """Return the moments that come before the data; `held` keeps their memory reserved.

        Errors: InvalidRequest (INVALID_MOMENTS), TooLarge, Busy, TruncatedStream.
        """
        reader = MomentsReader(most_bytes)
        while True:
            frame = await self._next(waiting_for="data")
            if frame is None or isinstance(frame, memoryview) or _kind_of(frame) != "moments":
                self._behind_moments = frame
                return reader.done()
            size = reader.add(frame.moments)
            held.enter_context(place.memory(MOMENTS_AT_HAND * size))

    async def data(self, count: Callable[[int], None]) -> AsyncIterator[memoryview]:
        """Yield the bytes of the data frames, and tell `count` how many. Errors: InvalidRequest for any other frame."""
        frame, self._behind_moments = self._behind_moments, None
        while frame is not None:
            if not isinstance(frame, memoryview):
                raise _misplaced(frame)
            if frame:  # an empty frame is no sign of life
                count(len(frame))
                yield frame
            frame = await anext(self._frames, None)

    async def _next(self, *, waiting_for: str) -> RequestFrame | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(aiter(self._frames), None)
        except TimeoutError as error:
            raise TruncatedStream(f"the client sent nothing for {self._idle_seconds:g} seconds", field=waiting_for) from error


def _kind_of(frame: RequestFrame) -> str | None:
    return "data" if isinstance(frame, memoryview) else frame.WhichOneof("frame")


def _misplaced(frame: pb.AnalyzeRequest | pb.CompressRequest) -> InvalidRequest:
    """Return what is wrong with a frame that came where only data may."""
    match _kind_of(frame):
        case "options":
            message = "options came a second time: they come once, first"
            return InvalidRequest(message, reason="REPEATED_OPTIONS", field="options")
        case "moments":
            return invalid_moments("moments came after data: they come before")
        case _:
            return _empty_frame()


def _empty_frame() -> InvalidRequest:
    return InvalidRequest("a frame with neither options, moments nor data", reason="EMPTY_FRAME", field="frame")
