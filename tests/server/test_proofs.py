"""What the server finds out about its own kernels before it sends what they made."""

from collections.abc import Callable
from dataclasses import replace

import grpc
import numpy as np
import pytest

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
