import os

import pytest

from ellq_kernels import MAKERS, Kernels, make_kernels

NEED_A_CARD = {"reference-cuda", "triton"}

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether this process runs Triton kernels on the CPU; test_triton.py starts one that does."""


def _without_device(kind: str) -> bool:
    if kind not in NEED_A_CARD or (kind == "triton" and INTERPRETED):
        return False
    import torch

    return not torch.cuda.is_available()


@pytest.fixture(
    scope="session",
    params=[pytest.param(kind, marks=[pytest.mark.gpu] if kind in NEED_A_CARD else []) for kind in MAKERS],
)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """Every maker in turn: each must give the bits of the definition."""
    if _without_device(request.param):
        pytest.skip("torch sees no CUDA device")
    return make_kernels(request.param)
