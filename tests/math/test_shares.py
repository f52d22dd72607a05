from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ellq_math.shares import whole_shares

TOTALS = st.lists(
    st.integers(0, 2**62 - 1) | st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**61, 2**62 - 1]), min_size=1, max_size=9
)


@given(totals=TOTALS, epsilon=st.floats(0, 1, exclude_min=True), p=st.sampled_from([1, 2]))
def test_shares_are_those_of_whole_numbers_without_bounds(totals: list[int], epsilon: float, p: int):
    share = Fraction(epsilon) ** p
    found = whole_shares(np.array(totals), share=share)
    assert found.dtype == np.int64
    assert found.tolist() == [total * share.numerator // share.denominator for total in totals]
