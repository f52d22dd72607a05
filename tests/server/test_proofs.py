"""What the server finds out about its own kernels before it sends what they made."""

from collections.abc import Callable
from dataclasses import replace

import grpc
import numpy as np
import pytest

from ellq.v1 import compression_pb2 as pb
from tests.server.wire import Caller, stream_of

FLAT = stream_of({"w": np.ones((64, 64), np.float32)})
"""Half of each row goes, and Stechkin's bound of the l_1 norm of half a flat row is that very norm."""


@pytest.mark.parametrize(
    ("field", "wrong", "message"),
    [
        ("zeros", lambda zeros: zeros - 1, "the zeros after the cut do not match"),
        ("zeros", lambda zeros: zeros + 1, "the zeros after the cut do not match"),
        ("l1", lambda norm: norm * (1 + 1e-9), "neuron 5: measured tail"),
        ("l2_squared", lambda square: square * 2, "neuron 5: measured tail"),  # 8 in place of 5.7, its bound being 7.3
    ],
)
def test_one_neuron_that_contradicts_what_is_known_stops_the_call(
    serve: Callable[..., Caller],
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    wrong: Callable[[np.ndarray], np.ndarray],
    message: str,
) -> None:
    caller = serve()
    kernels = type(caller.server._house.kernels)
    honest = kernels.apply

    def apply(self: object, *arguments: object, **options: object) -> object:
        tails = honest(self, *arguments, **options)
        told = getattr(tails, field)
        return replace(tails, **{field: np.where(np.arange(len(told)) == 5, wrong(told), told)})

    monkeypatch.setattr(kernels, "apply", apply)
    refusal = caller.refused(FLAT)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "CERTIFICATE_REFUTED")
    assert message in refusal.message


def test_bounds_are_of_the_neuron_with_the_largest(caller: Caller) -> None:
    """Half a flat row: the bound of its l_1 norm is that very norm."""
    report = caller.compress(stream_of({"w": np.outer([1.0, 100.0, 2.0], np.ones(64)).astype(np.float32)})).reports["w"]
    assert report.bound.tail_l1_max == pytest.approx(3200)
    assert report.bound.tail_l2_max >= report.certificate.tail_l2_max > 560


def test_the_largest_of_groups_have_no_bound(caller: Caller) -> None:
    """Stechkin speaks of the largest of a row, and n_of_m may cut those."""
    rule = pb.Rule(scope=pb.SCOPE_NEURON, n_of_m=pb.NOfMRule(n=2, m=4))
    assert not caller.compress(stream_of({"w": np.ones((4, 64), np.float32)}), rule).reports["w"].HasField("bound")
