import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import numpy as np
import pytest

from ellq_kernels import MAKERS, Kernels, make_kernels
from ellq_kernels.cpu import threads
from ellq_math.values import Cut, Histogram, RowStatistics, Tails

from .matrices import DTYPES, Matrix, assert_same, bell_curve, fixed_points, pool_point

CALLERS = 8


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share out what is too little to be worth it."""
    monkeypatch.setattr(threads, "BLOCK_WEIGHTS", 1 << 14)


def everything(kernels: Kernels, matrix: Matrix) -> tuple[RowStatistics, Cut, Histogram, Cut, Tails, Tails, Tails, bytes]:
    """Measure, choose both ways, count, cut, and cut by keys."""
    weights = matrix.load(kernels)
    assert kernels.first_nonfinite(weights) is None
    statistics = kernels.measure(weights, (0.3, 0.5, 1.0, 2.0))
    fixed = fixed_points(matrix.magnitudes, 1)
    within = kernels.keep_within(weights, kernels.unit_totals(weights, fixed) // 5, fixed)
    histogram = kernels.histogram(weights, level=0, prefix=0, units=pool_point(matrix.magnitudes, 2))
    neurons, fan_in = matrix.bits.shape
    largest = kernels.keep_largest(weights, np.full((neurons, 1), fan_in // 2), width=fan_in)
    keys = kernels.weigh(weights, np.linspace(0.5, 1.0, neurons), np.linspace(1.0, 3.0, fan_in)[np.newaxis])
    by_keys = kernels.keep_largest(keys, np.full((neurons, 1), 2 * fan_in // 3), width=fan_in)
    removed = kernels.apply(weights, by_keys, keys=keys)
    tails = kernels.apply(weights, largest)
    difference = kernels.difference(matrix.load(kernels), weights)
    return statistics, within, histogram, largest, removed, tails, difference, bytes(kernels.payload(weights))


def assert_all_same(found: tuple, expected: tuple) -> None:
    for left, right in zip(found[:-1], expected[:-1], strict=True):
        assert_same(left, right)
    assert found[-1] == expected[-1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300, 1500), (1, 450_000), (90_000, 5)])
def test_results_do_not_depend_on_the_number_of_threads(dtype: str, shape: tuple[int, int]) -> None:
    matrix = bell_curve(dtype, *shape)
    alone = everything(make_kernels("cpu", threads=1), matrix)
    for count in (2, 5):
        assert_all_same(everything(make_kernels("cpu", threads=count), matrix), alone)


def test_one_maker_serves_many_threads_at_once(kernels: Kernels) -> None:
    matrices = [bell_curve(DTYPES[caller % 4], 150, 1500, seed=caller) for caller in range(CALLERS)]
    expected = [everything(kernels, matrix) for matrix in matrices]
    with ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(3):
            for found, right in zip(pool.map(lambda m: everything(kernels, m), matrices), expected, strict=True):
                assert_all_same(found, right)


def test_makers_are_made_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or two threads would import numba at once, which breaks its circles of imports."""
    making: list[int] = []

    def make(threads: int | None) -> Kernels:
        making.append(len(making))
        time.sleep(0.01)  # long enough for the others to come in, were they let in
        assert making.pop() == 0
        return MAKERS["reference"](threads)

    monkeypatch.setitem(MAKERS, "slow", make)
    with ThreadPoolExecutor(CALLERS) as pool:
        assert len(list(pool.map(make_kernels, ["slow"] * CALLERS))) == CALLERS


def test_nothing_is_held_for_a_thread_that_comes_too_late() -> None:
    pool, both_at_work, gate = threads.Threads(2), Barrier(3), Event()
    busy = Thread(target=pool.run, args=(lambda _: (both_at_work.wait(), gate.wait()), [(0,), (1,)]))
    busy.start()
    both_at_work.wait()
    weights = np.ones(3)
    held = weakref.ref(weights)
    assert pool.run(weights.__getitem__, [(0,), (1,)]) == [1, 1]
    del weights
    let_go = held() is None
    gate.set()
    busy.join()
    assert let_go


def test_what_goes_wrong_is_told_when_all_threads_are_done() -> None:
    pool, gate, done = threads.Threads(2), Event(), []

    def task(place: int) -> None:
        if place == 0:
            gate.wait()  # until the other thread is at work, too
            raise MemoryError
        gate.set()
        time.sleep(0.05)  # long enough for the first to be told of, were it not held back
        done.append(place)

    with pytest.raises(MemoryError):
        pool.run(task, [(0,), (1,)])
    assert done == [1]
