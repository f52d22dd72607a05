"""Sketches as messages: nothing is lost on the way, and the longest one fits a frame."""

from dataclasses import replace

import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from ellq_math.measuring import measure
from ellq_math.pool_units import pool_units, whole_units
from ellq_math.pools import DIGITS, START, exponent_fields
from ellq_math.rules import Tail
from ellq_math.values import Histogram
from ellq_server.requests import read_analyze, read_compress
from ellq_server.sketches import MOST_WEIGHTS, Sketch, sketch_from_wire, sketch_to_wire
from tests.server.test_global_scope import RULES, through_passes
from tests.server.wire import Caller, stream_of

FRAME_BYTES = 4 << 20
"""gRPC's default limit of a message."""

DIGEST = b"x" * 32


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
def test_a_sketch_comes_back_as_it_went(caller: Caller, rule: str, scale: float) -> None:
    weights = np.random.default_rng(2).standard_t(3, (30, 20)) * scale
    for wire in through_passes(caller, stream_of({"w": weights, "z": np.zeros((2, 2), np.float16)}), RULES[rule]):
        if wire.final:
            request = read_compress(pb.CompressOptions(rule=RULES[rule], sketch=wire))
        else:
            request = read_analyze(pb.AnalyzeOptions(rule=RULES[rule], sketch=pb.SketchOptions(previous=wire)))
        assert request.sketch is not None
        assert sketch_to_wire(request.sketch) == wire


def longest() -> Sketch:
    """Return the sketch of as many weights as there may be, in every bin that finite doubles have, as dear as they can be."""
    digits = np.arange(2047 << 7)
    weights = np.zeros(2 ** DIGITS[0], np.int64)
    weights[digits] = (MOST_WEIGHTS - 1) // len(digits)
    count = int(weights.sum())
    units = weights << pool_units(count, p=2).bits
    stats = measure(np.array([[np.finfo(float).max]]), (0.5, 1.0, 2.0), scale=True)
    histogram = Histogram(weights, units, whole_units(units, exponent_fields(0, 0), p=2))
    return Sketch(DIGEST, replace(stats, fan_in=count), 52, START, histogram, final=False)


def test_the_longest_sketch_fits_a_frame_and_is_read() -> None:
    sketch = longest()
    wire = sketch_to_wire(sketch)
    frame = pb.AnalyzeRequest(options=pb.AnalyzeOptions(sketch=pb.SketchOptions(previous=wire), rule=RULES["tail_l2"]))
    assert 0.9 * FRAME_BYTES < frame.ByteSize() < FRAME_BYTES
    found = sketch_from_wire(wire, Tail(epsilon=0.2, p=2), (0.5, 1.0, 2.0), DIGEST, must_be_final=False)
    assert sketch_to_wire(found) == wire
