import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.network.margins import unchanged_share_everywhere, unchanged_share_in_mean

seeds = st.integers(0, 2**32 - 1)


def random_outputs(rng):
    """Return outputs of samples, their errors and their margins."""
    outputs = rng.standard_normal((30, 4))
    errors = rng.standard_normal((30, 4)) * np.exp(2 * rng.standard_normal((30, 1)) - rng.integers(0, 4))
    ranked = np.sort(outputs, axis=1)
    return outputs, errors, ranked[:, -1] - ranked[:, -2]


def kept_share(outputs, errors):
    return (outputs.argmax(axis=1) == (outputs + errors).argmax(axis=1)).mean()


@given(seeds)
def test_everywhere_no_more_samples_change_than_told(seed):
    outputs, errors, margins = random_outputs(np.random.default_rng(seed))
    largest, l2 = np.abs(errors).max(), np.linalg.norm(errors, axis=1).max()
    for error_max, error_l2 in ((largest, np.inf), (np.inf, l2), (largest, l2)):
        assert unchanged_share_everywhere(margins, error_max=error_max, error_l2=error_l2) <= kept_share(outputs, errors)


@given(seeds)
def test_in_the_mean_no_more_samples_change_than_told(seed):
    outputs, errors, margins = random_outputs(np.random.default_rng(seed))
    l2 = np.sqrt((errors**2).sum(axis=1).mean())
    assert unchanged_share_in_mean(margins, error_l2=l2) <= kept_share(outputs, errors)


@given(seeds)
def test_the_count_in_the_mean_is_that_of_the_costliest_choice(seed):
    """Brute force over all sets of eight samples: the largest set that the error can pay for. Whole numbers: nothing rounds."""
    rng = np.random.default_rng(seed)
    margins, room = rng.integers(1, 12, 8).astype(float), int(rng.integers(1, 200))
    sets = itertools.chain.from_iterable(itertools.combinations(margins, count) for count in range(9))
    most = max(len(chosen) for chosen in sets if sum(x * x / 2 for x in chosen) <= room + 0.25)
    found = unchanged_share_in_mean(margins, error_l2=((room + 0.25) / 8) ** 0.5)
    assert found <= (8 - most) / 8
    assert found >= (8 - most) / 8 * (1 - 2.0**-50)


def test_ties_count_as_changed():
    margins = np.array([0.0, 0.0, 1.0, 2.0])
    assert 0.5 * (1 - 2.0**-50) <= unchanged_share_in_mean(margins, error_l2=0.0) <= 0.5
    assert 0.5 * (1 - 2.0**-50) <= unchanged_share_everywhere(margins, error_max=0.0, error_l2=0.0) <= 0.5
    assert unchanged_share_everywhere(margins[2:], error_max=0.25, error_l2=1.0) == 1
    assert unchanged_share_everywhere(np.array([2.0]), error_max=1.0, error_l2=9.0) == 0


def test_errors_beyond_a_double_keep_nothing():
    margins = np.array([1.0, 2.0])
    assert unchanged_share_in_mean(margins, error_l2=np.inf) == 0
    assert unchanged_share_everywhere(margins, error_max=np.inf, error_l2=np.inf) == 0
