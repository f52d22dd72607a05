"""One threshold over shards that no server holds together: calls for each of them, and their sketches merged in between."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ellq.v1 import compression_pb2 as pb
from ellq_client.actions import Action, Event, together
from ellq_client.contract import expect
from ellq_client.conversations import SKETCH_PASSES, Task
from ellq_client.errors import ProtocolError
from ellq_client.folders.folder import Shard
from ellq_client.folders.sink import ShardsSink
from ellq_client.folders.sketches import for_shard, merged
from ellq_client.requests import Request
from ellq_client.results import Compression, compression_of
from ellq_client.rules import ErrorBudget

Value = TypeVar("Value")


def goes_apart(shards: Sequence[Shard], request: Request) -> bool:
    """Return whether these shards can go in calls of their own although one threshold holds for all.

    An error budget, a network and moments need all tensors in one call. Tensors with a rule of their own are in no sketch,
    from which the indices of all weights come.
    """
    own_rules = any(override.rule is not None for override in request.overrides)
    enclosed = request.network_sha256 is not None or request.moments_sha256 is not None
    return len(shards) > 1 and request.can_sketch and not (isinstance(request.rule, ErrorBudget) or own_rules or enclosed)


@dataclass(frozen=True)
class Pool:
    """Shards whose weights are counted together."""

    task: Task
    """What is to be done to all of them."""
    shards: Sequence[Shard]
    directory: Path
    """Where the compressed shards go."""
    streams: int

    def compress(self) -> Generator[Action, Event, tuple[list[Compression], pb.Sketch]]:
        """Compress all of them by one threshold; return what was done to each, and the sketch of everything."""
        whole, last = yield from self._sketch()
        calls = [self._compress(place, whole, last) for place in range(len(self.shards))]
        return (yield from self._together(calls)), whole

    def _sketch(self) -> Generator[Action, Event, tuple[pb.Sketch, list[pb.Summary]]]:
        """Return the final sketch of everything, and the summaries of its last pass by shard."""
        whole = None
        for number in range(SKETCH_PASSES):
            last = yield from self._together([self.task.measure(shard.source, previous=whole) for shard in self.shards])
            found = _sketches(last)
            expect(bool(found), "no sketch in any summary, though one was asked for")
            whole = merged(found, first_pass=number == 0)
            if whole.final:
                return whole, last
        raise ProtocolError(f"the sketch is not final after {SKETCH_PASSES} passes")

    def _compress(self, place: int, whole: pb.Sketch, last: Sequence[pb.Summary]) -> Generator[Action, Event, Compression]:
        shard = self.shards[place]
        task = replace(self.task, source=shard.source)
        sink = ShardsSink((shard,), self.directory, encoding=task.request.encoding)
        try:
            answer = yield from task.compress(sink, sketch=for_shard(whole, _sketches(last[:place])))
            sink.commit()
        finally:
            sink.discard()
        name = Path(shard.name)
        return compression_of(answer, task.request, task.source, output=name, weights=None, packed=sink.sizes)

    def _together(self, calls: Sequence[Generator[Action, Event, Value]]) -> Generator[Action, Event, list[Value]]:
        sizes = [shard.payload_bytes for shard in self.shards]
        return (yield from together(calls, width=min(self.streams, len(calls)), sizes=sizes))


def _sketches(summaries: Sequence[pb.Summary]) -> list[pb.Sketch]:
    """Return the sketches of those shards that have weights to count."""
    return [summary.sketch for summary in summaries if summary.HasField("sketch")]
