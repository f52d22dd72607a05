import importlib
import pkgutil
import subprocess
import sys

import numpy as np
from numba.core.dispatcher import Dispatcher

from ellq_kernels import cpu, make_kernels, warm_up
from ellq_math.values import PoolUnits

from .matrices import DTYPES, bell_curve, fixed_points

PROGRAM = "import tests.kernels.test_warming as warming; warming.count_compiled()"


def compiled() -> dict[str, int]:
    """Return how many specialisations each kernel has in this process."""
    modules = [importlib.import_module(f"{cpu.__name__}.{module.name}") for module in pkgutil.iter_modules(cpu.__path__)]
    return {
        f"{found.py_func.__module__}.{name}": len(found.signatures)
        for module in modules
        for name, found in vars(module).items()
        if isinstance(found, Dispatcher)
    }


def count_compiled() -> None:
    """Warm up, then use every operation as callers may: with read-only, misaligned and strided arguments too."""
    kernels = make_kernels("cpu", threads=1)
    warm_up(kernels)
    before = compiled()
    for dtype in DTYPES:
        matrix = bell_curve(dtype, 4, 50)
        weights = matrix.load(kernels)
        kernels.first_nonfinite(weights)
        kernels.measure(weights, (0.3, 1.0))
        fixed = fixed_points(matrix.magnitudes, 2)
        kernels.keep_within(weights, kernels.unit_totals(weights, fixed), fixed)
        kernels.histogram(weights, level=1, prefix=5, units=PoolUnits(p=2, bits=30))
        kernels.histogram(weights, level=1, prefix=5, units=None)
        columns = np.broadcast_to(np.float64(2.0), (2, 50))
        keys = kernels.weigh(weights, np.frombuffer(np.ones(4).tobytes()), columns)
        kernels.kth_largest([weights, keys], 30)
        for held in (weights, keys):
            cut, _ = kernels.cut_at(held, threshold=0.01, ties_kept=0)
            kernels.tails(held, cut)
            kernels.apply(weights, cut, keys=held)
        kernels.apply(weights, kernels.keep_largest(keys, np.full((4, 25), 1), width=2), keys=keys)
        kernels.difference(matrix.load(kernels), weights)
        kernels.clear_neurons(weights, np.array([True, False, True, False]))
        for padding in (0, 1):
            raw = np.frombuffer(bytes(padding) + np.eye(50).tobytes(), np.uint8)[padding:]
            kernels.lasso(weights, raw.view(np.float64).reshape(1, 50, 50), epsilon=0.1)
    after = compiled()
    assert any(before.values())
    assert before == after


def test_nothing_is_left_to_compile_after_warming_up() -> None:
    """In a process of its own, because other tests compile too."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
