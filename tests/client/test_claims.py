"""How far a claim may be from what was found."""

import math

import numpy as np
import pytest

from ellq_client import ClaimRefuted
from ellq_client.verifying.claims import LOOSENESS, Claims

CLAIMS = Claims("w")


@pytest.mark.parametrize(
    ("claimed", "found", "allowed"),
    [
        (2.0, 2.25, {"relative": 0.125}),  # of the smaller magnitude
        (-2.25, -2.0, {"relative": 0.125}),
        (2.0, 2.5, {"relative": 0.125, "absolute": 0.5}),  # the larger allowance counts
        (2.0, 2.25, {"relative": 0.125, "absolute": 0.125}),
        (math.inf, math.inf, {}),
        (0.0, -0.0, {}),
    ],
)
def test_two_roundings_of_one_number_are_close(claimed, found, allowed):
    CLAIMS.close("a", claimed, found, **allowed)
    CLAIMS.all_close("a", (claimed, claimed), np.array([found, found]), **allowed)


@pytest.mark.parametrize(
    ("claimed", "found", "allowed"),
    [
        (2.25, 2.0, {"relative": 0.124}),
        (-2.0, -2.25, {"relative": 0.124}),
        (1.0, -1.0, {"relative": 0.5}),
        (2.0, 2.5, {"relative": 0.125, "absolute": 0.25}),
        (math.inf, 1e308, {"relative": 0.5, "absolute": 0.5}),
        (1e308, math.inf, {"relative": 0.5}),
        (math.nan, 1.0, {"relative": 0.5, "absolute": 0.5}),
        (1.0, math.nan, {"relative": 0.5, "absolute": 0.5}),
    ],
)
def test_what_is_further_apart_is_refuted(claimed, found, allowed):
    with pytest.raises(ClaimRefuted, match="tensor 'w'"):
        CLAIMS.close("a", claimed, found, **allowed)
    with pytest.raises(ClaimRefuted, match=r"a\[1\]"):
        CLAIMS.all_close("a", (0.0, claimed), np.array([0.0, found]), **allowed)


def test_a_bound_may_be_above_what_was_proved_but_not_below_nor_far_above():
    for claimed in (1.0, 1 + LOOSENESS / 2):
        CLAIMS.covers("a", claimed, 1.0)
        CLAIMS.all_cover("a", (1.0, claimed), np.ones(2))
    for claimed in (math.nextafter(1.0, 0.0), 1 + 2 * LOOSENESS, math.nan, math.inf):
        with pytest.raises(ClaimRefuted, match=r"at most 1\.0, proved"):
            CLAIMS.covers("a", claimed, 1.0)
        with pytest.raises(ClaimRefuted, match=r"a\[1\]"):
            CLAIMS.all_cover("a", (1.0, claimed), np.ones(2))


def test_no_entry_may_be_missing():
    for hold in (CLAIMS.all_close, CLAIMS.all_cover):
        with pytest.raises(ClaimRefuted, match="number of entries"):
            hold("a", (1.0,), np.ones(2))
