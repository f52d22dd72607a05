"""Buffers come back when nobody refers to them any more, and never before."""

import weakref

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_server.buffers import LEAST_BYTES, Buffers
from ellq_server.totals import Totals
from ellq_server.workbench import Outcome
from tests.server.wire import HALF, Caller, stream_of


def address(view: memoryview) -> int:
    return np.frombuffer(view, np.uint8).ctypes.data


def test_a_buffer_is_used_again_once_nobody_refers_to_it() -> None:
    buffers = Buffers()
    first = buffers.take(2 * LEAST_BYTES)
    place = address(first)
    weights = np.frombuffer(first, np.float32)
    del first
    assert address(buffers.take(LEAST_BYTES)) != place  # the weights still refer to it
    del weights
    again = buffers.take(LEAST_BYTES)
    assert address(again) == place
    assert len(again) == LEAST_BYTES


def test_two_buffers_in_use_never_overlap() -> None:
    buffers = Buffers()
    for _ in range(3):
        views = [buffers.take(LEAST_BYTES) for _ in range(4)]
        for number, view in enumerate(views):
            view[:] = bytes([number]) * LEAST_BYTES
        assert [bytes(view) == bytes([number]) * LEAST_BYTES for number, view in enumerate(views)] == [True] * 4


def test_a_slice_keeps_its_buffer() -> None:
    buffers = Buffers()
    view = buffers.take(LEAST_BYTES)
    view[:] = b"x" * LEAST_BYTES
    piece = view[10:20]
    del view
    buffers.take(LEAST_BYTES)[:] = b"y" * LEAST_BYTES
    assert bytes(piece) == b"x" * 10


def test_a_larger_tensor_gets_room_of_its_own() -> None:
    buffers = Buffers()
    del (small := [buffers.take(LEAST_BYTES)])[0]
    assert small == []
    assert len(buffers.take(3 * LEAST_BYTES)) == 3 * LEAST_BYTES


def test_small_buffers_and_empty_ones_come_from_the_allocator() -> None:
    assert len(Buffers().take(0)) == 0
    assert len(Buffers().take(LEAST_BYTES - 1)) == LEAST_BYTES - 1


ROOM = {f"w{number}": np.ones((512, 512), np.float32) for number in reversed(range(5))}
"""Layers, last first."""

INPUT = pb.Node(name="x", input=pb.InputNode(shape=[512]))
LAYERS = [pb.Node(name=f"n{i}", inputs=[f"n{i - 1}" if i else "x"], linear=pb.LinearNode(weight=f"w{i}")) for i in range(5)]
MOMENTS = [pb.Moments(tensor=name, second_moments=[1.0] * 512) for name in ROOM]
SHARE = pb.Rule(scope=pb.SCOPE_GLOBAL, fraction=pb.FractionRule(pruned_ratio=0.5))
BUDGET = pb.Rule(scope=pb.SCOPE_GLOBAL, error_budget=pb.ErrorBudgetRule(pruned_ratio=0.5, grade=pb.GRADE_MEAN_SQUARE))
ANALYSES = {
    "no rule": {},
    "rule": {"rule": HALF},
    "keys": {"rule": HALF, "moments": MOMENTS},
    "sketch of magnitudes": {"rule": SHARE, "sketch": pb.SketchOptions()},
    "sketch of costs": {
        "rule": BUDGET,
        "sketch": pb.SketchOptions(),
        "network": pb.Network(topology=pb.Topology(nodes=[INPUT, *LAYERS])),
        "moments": MOMENTS,
    },
}


@pytest.mark.parametrize("analysis", ANALYSES)
def test_an_analysis_takes_the_memory_of_one_tensor(caller: Caller, monkeypatch: pytest.MonkeyPatch, analysis: str) -> None:
    places: list[int] = []

    def take(self: Buffers, length: int, taken=Buffers.take) -> memoryview:
        view = taken(self, length)
        places.extend([address(view)] if length >= LEAST_BYTES else [])
        return view

    monkeypatch.setattr(Buffers, "take", take)
    caller.analyze(stream_of(ROOM), **ANALYSES[analysis])
    assert len(places) == 5
    assert len(set(places)) == 1


def test_weights_are_let_go_before_whoever_takes_their_report_is_done(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[weakref.ref[memoryview]] = []
    held: list[bool] = []

    def take(self: Buffers, length: int, taking=Buffers.take) -> memoryview:
        view = taking(self, length)
        taken.append(weakref.ref(view))
        return view

    def add(self: Totals, outcome: Outcome, adding=Totals.add) -> None:
        held.append(taken[-1]() is not None)
        adding(self, outcome)

    monkeypatch.setattr(Buffers, "take", take)
    monkeypatch.setattr(Totals, "add", add)
    caller.analyze(stream_of({"w": np.ones((64, 1024), np.float32)}))  # too small to be worked on ahead
    assert held == [False]
