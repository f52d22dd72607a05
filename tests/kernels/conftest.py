import pytest

from ellq_kernels import MAKERS, Kernels, make_kernels


def _without_device(kind: str) -> bool:
    if kind != "reference-cuda":
        return False
    import torch

    return not torch.cuda.is_available()


@pytest.fixture(
    scope="session",
    params=[pytest.param(kind, marks=[pytest.mark.gpu] if kind == "reference-cuda" else []) for kind in MAKERS],
)
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """Every maker in turn: each must give the bits of the definition."""
    if _without_device(request.param):
        pytest.skip("torch sees no CUDA device")
    return make_kernels(request.param)
