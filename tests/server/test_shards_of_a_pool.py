"""Shards that are compressed apart by one threshold: ties are used up in the order of the whole checkpoint."""

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_math.grades import Grade
from ellq_math.rules import ErrorBudget, IndexOrders
from ellq_server.refusals import InvalidRequest
from ellq_server.requests import read_analyze, read_compress
from ellq_server.sketches import sketch_from_wire, sketch_orders
from tests.server.test_global_scope import RULES, through_passes
from tests.server.wire import Caller, stream_of

FIRST = {"a": np.array([[3, 1, 1], [0, 2, 1]], np.float32)}
SECOND = {"b": np.array([[1, 1, 5], [1, 1, 0]], np.float32)}
THIRD = {"c": np.array([[1, 7], [1, 1]], np.float32)}
RULE = pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.5))
"""Of 16 weights 8 stay: 7, 5, 3, 2, and 4 of 10 ones."""


@pytest.fixture(scope="module")
def final(caller: Caller) -> pb.Sketch:
    return through_passes(caller, stream_of(FIRST | SECOND | THIRD), RULE)[-1]


def before(sketch: pb.Sketch, counts: dict[int, int]) -> pb.Sketch:
    """Return the sketch with so many weights before the stream, by the place of the bin: 0, 1, 2, 3, 5, 7."""
    found = pb.Sketch()
    found.CopyFrom(sketch)
    found.bins.weights_before.extend(counts.get(place, 0) for place in range(len(sketch.bins.digits)))
    return found


def test_the_bytes_are_those_of_one_stream(caller: Caller, final: pb.Sketch) -> None:
    assert len(final.bins.digits) == 1, "the last pass looks at the one bin that holds the threshold"
    shards = [(FIRST, final), (SECOND, before(final, {0: 3})), (THIRD, before(final, {0: 7}))]
    kept = [np.array([[3, 1, 1], [0, 2, 1]]), np.array([[1, 0, 5], [0, 0, 0]]), np.array([[0, 7], [0, 0]])]
    for (shard, sketch), expected in zip(shards, kept, strict=True):
        wanted = {name: expected.astype(np.float32) for name in shard}
        assert caller.compress(stream_of(shard), RULE, sketch=sketch).data == stream_of(wanted)
    whole = caller.compress(stream_of(FIRST | SECOND | THIRD), RULE)
    assert whole.summary.kept == sum(int((weights != 0).sum()) for weights in kept)


def test_without_it_every_shard_would_keep_all_the_ties(caller: Caller, final: pb.Sketch) -> None:
    kept = {"b": np.array([[1, 1, 5], [1, 1, 0]], np.float32)}
    assert caller.compress(stream_of(SECOND), RULE, sketch=final).data == stream_of(kept)


@pytest.mark.parametrize("counts", [[], [4, 0], [0, 0, 4], [11], [2**63]])
def test_what_does_not_fit_the_bins_is_refused(final: pb.Sketch, counts: list[int]) -> None:
    forged = before(final, {})
    forged.bins.ClearField("weights_before")
    forged.bins.weights_before.extend(counts)
    if not counts:
        assert read_compress(pb.CompressOptions(rule=RULE, sketch=forged)).sketch
        return
    with pytest.raises(InvalidRequest, match="weights_before are not one for each bin, or more than the bin holds") as caught:
        read_compress(pb.CompressOptions(rule=RULE, sketch=forged))
    assert caught.value.reason == "INVALID_SKETCH"


def test_it_is_for_compress_alone_and_not_for_a_budget(caller: Caller, final: pb.Sketch) -> None:
    first = through_passes(caller, stream_of(FIRST), RULES["fraction"])[0]
    forged = before(first, {0: 1})
    with pytest.raises(InvalidRequest, match="for Compress alone"):
        read_analyze(pb.AnalyzeOptions(rule=RULES["fraction"], sketch=pb.SketchOptions(previous=forged)))
    budget = ErrorBudget(max_error=0.1, pruned_ratio=None, grade=Grade.MEAN_SQUARE, measured=False)
    orders = sketch_orders(IndexOrders(q=0.5, pq_p=0.5, pq_q=1.0), budget)
    with pytest.raises(InvalidRequest, match="not for an error budget"):
        sketch_from_wire(before(final, {0: 1}), budget, orders, final.options_sha256, must_be_final=True)
