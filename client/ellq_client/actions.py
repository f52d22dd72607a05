"""What a conversation asks of whoever drives it, and the thing that steps it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, Generic, Literal, TypeAlias, TypeVar, cast

from ellq.v1 import compression_pb2 as pb
from ellq.v1.frames import Data
from ellq_client.errors import Cancelled, SourceError
from ellq_client.frames import AnswerFrame, RequestFrame
from ellq_client.sources import Source
from ellq_client.values import TensorReport

Result = TypeVar("Result")
Method: TypeAlias = Literal["Analyze", "Compress", "GetCapabilities"]


class Upload:
    """The frames of a request: one message, what goes along with it, then the source.

    Remembers why the source could not be read to its end.
    """

    def __init__(
        self, first: RequestFrame, source: Source | None = None, enclosed: Callable[[], Iterable[RequestFrame]] = tuple
    ) -> None:
        self._first = first
        self._source = source
        self._enclosed = enclosed
        self.failure: SourceError | None = None

    def __iter__(self) -> Iterator[RequestFrame]:
        """Yield every frame. A source that fails ends the stream early, and the server will say that it is truncated.

        A wrong digest or a changed file shows only behind the last byte, so the last frame waits until the source has ended
        well.
        """
        yield self._first
        yield from self._enclosed()
        if self._source is None:
            return
        held: Data | None = None
        try:
            for frame in self._source.frames():
                if held is not None:
                    yield held
                held = frame
        except SourceError as error:
            self.failure = error
            return
        if held is not None:
            yield held


@dataclass(frozen=True)
class Open:
    """Start a call. One message up, or down, is a stream of one: on the wire there is no difference."""

    method: Method
    upload: Upload
    timeout_seconds: float


class Receive:
    """Wait for the next frame."""


@dataclass(frozen=True)
class Wait:
    """Let some time pass."""

    seconds: float


@dataclass(frozen=True)
class Deliver:
    """Hand a finished report to the caller."""

    report: TensorReport


@dataclass(frozen=True)
class Together:
    """Hold several conversations, at most `width` of them at a time; they begin in this order.

    What they deliver is delivered as it comes. The first that fails ends the others.
    """

    conversations: "Sequence[Generator[Action, Event, object]]"
    width: int


RECEIVE: Final = Receive()
Action: TypeAlias = Open | Receive | Wait | Deliver | Together
Event: TypeAlias = AnswerFrame | pb.GetCapabilitiesResponse | tuple[object, ...] | None


def together(
    conversations: Sequence[Generator[Action, Event, Result]], *, width: int, sizes: Sequence[int]
) -> Generator[Action, Event, list[Result]]:
    """Hold these conversations, at most `width` at a time, and return their results in their order.

    Several at a time begin with the largest of these `sizes`, so that none of them is left over at the end.
    """
    if width == 1:
        return (yield from _in_turn(conversations))
    order = sorted(range(len(sizes)), key=lambda place: -sizes[place])
    found = yield Together([conversations[place] for place in order], width)
    assert isinstance(found, tuple)
    by_place = dict(zip(order, cast("tuple[Result, ...]", found), strict=True))
    return [by_place[place] for place in range(len(sizes))]


def _in_turn(conversations: Iterable[Generator[Action, Event, Result]]) -> Generator[Action, Event, list[Result]]:
    results: list[Result] = []
    for conversation in conversations:
        result = yield from conversation
        results.append(result)
    return results


class Dialogue(Generic[Result]):
    """A conversation on its way to a result."""

    def __init__(self, conversation: Generator[Action, Event, Result]) -> None:
        self._conversation = conversation
        self._result: Result | None = None
        self._failure: BaseException | None = None
        self._stepping = Lock()

    def step(self, event: Event | BaseException) -> Action | None:
        """Tell what came of the last action (nothing, at first) and return the next; None when the result is there.

        Errors: whatever ended the conversation, now or at an earlier step.
        """
        with self._stepping:
            if self._failure is not None:
                raise self._failure
            if self._result is not None:
                return None
            try:
                if isinstance(event, BaseException):
                    return self._conversation.throw(event)
                return self._conversation.send(event)
            except StopIteration as end:
                self._result = end.value
                return None
            except BaseException as error:
                self._failure = error
                raise

    def result(self) -> Result:
        """Return the result; only after step() returned None. Errors: whatever ended the conversation."""
        if self._failure is not None:
            raise self._failure
        assert self._result is not None, "the conversation goes on"
        return self._result

    def close(self) -> None:
        """End the conversation where it stands, which removes unfinished output; harmless at its end.

        A step under way in another thread is left to end by itself: its call is cancelled before anyone closes.
        """
        if not self._stepping.acquire(blocking=False):
            return
        try:
            self._conversation.close()
            if self._result is None and self._failure is None:
                self._failure = Cancelled("the run was closed before its end")
        finally:
            self._stepping.release()
