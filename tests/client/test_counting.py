"""Counts in sentences."""

import pytest

from ellq_client.counting import counted


@pytest.mark.parametrize(("count", "told"), [(0, "0 neurons"), (1, "1 neuron"), (2, "2 neurons"), (1001, "1001 neurons")])
def test_one_is_not_counted_as_many(count, told):
    assert counted(count, "neuron") == told
