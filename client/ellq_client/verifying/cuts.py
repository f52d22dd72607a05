"""What was changed in one tensor: weight by weight against a choice, or as it is where no choice can be made again."""

from dataclasses import dataclass

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.errors import ClaimRefuted
from ellq_client.verifying.choices import Chooser
from ellq_client.verifying.matrices import Matrix, join_tails
from ellq_math import measuring
from ellq_math.network.dead_neurons import Flags
from ellq_math.sums import Array
from ellq_math.values import Counts, Tails


@dataclass(frozen=True)
class Findings:
    """What was found in a tensor."""

    tails: Tails
    """Of all that changed."""
    kept: Counts | None
    """(neurons,): weights that the rule keeps; None where the choice cannot be made again."""
    dead_weights: int
    """Non-zero weights beyond the choice that went with dead neurons."""


def compare_cut(
    matrix: Matrix, by: Matrix, original: Checkpoint, compressed: Checkpoint, choose: Chooser, dead: Flags | None
) -> Findings:
    """Hold every weight against the choice: cut ones and rows of `dead` neurons are +0.0, all others have the original's bits.

    `by` is what the choice goes by, `dead` has one entry for each neuron. Errors: ClaimRefuted.
    """
    kept: list[Counts] = []
    tails: list[Tails] = []
    first = gone = 0
    for before, after, keys in zip(matrix.blocks(original), matrix.blocks(compressed), by.magnitudes(original), strict=True):
        magnitudes, cut = np.abs(matrix.decode(before, first)), choose(keys)
        all_cut = cut if dead is None else cut | dead[first : first + len(before), np.newaxis]
        wrong = after != np.where(all_cut, before.dtype.type(0), before)
        if wrong.any():
            row, column = (int(place) for place in np.argwhere(wrong)[0])
            _refute(matrix, first + row, column, cut=bool(all_cut[row, column]))
        kept.append((~cut).sum(axis=1))
        tails.append(measuring.tails(magnitudes, all_cut, scale=matrix.scale))
        gone += int((all_cut & ~cut & (magnitudes != 0)).sum())
        first += len(before)
    return Findings(join_tails(tails), np.concatenate(kept), gone)


def zero_rows(matrix: Matrix, compressed: Checkpoint) -> Flags:
    """Return which neurons have no weight left. Shape: (neurons,)."""
    return np.concatenate([~magnitudes.any(axis=1) for magnitudes in matrix.magnitudes(compressed)])


def measure_change(matrix: Matrix, original: Checkpoint, compressed: Checkpoint) -> Findings:
    """Return what changed, whatever it was."""
    tails: list[Tails] = []
    for old, new in zip(matrix.numbers(original), matrix.numbers(compressed), strict=True):
        moved = np.abs(old - new)
        found = measuring.tails(moved, np.ones(moved.shape, np.bool_), scale=matrix.scale)
        tails.append(Tails(found.l1, found.l2_squared, found.exponents, zeros=(new == 0).sum(axis=1)))
    return Findings(join_tails(tails), None, 0)


def change_of(matrix: Matrix, original: Checkpoint, compressed: Checkpoint) -> tuple[Array, Array]:
    """Return a whole tensor as it came, and what was added to it. Shape: both (neurons, fan_in) float64."""
    before, after = (np.concatenate(list(matrix.numbers(checkpoint))) for checkpoint in (original, compressed))
    return before, after - before


def _refute(matrix: Matrix, neuron: int, place: int, *, cut: bool) -> None:
    claimed = "cut by the rule" if cut else "kept by the rule, bit by bit"
    found = "another value than +0.0" if cut else "other bits than in the original"
    at = matrix.stored_index(neuron, place)
    raise ClaimRefuted(f"weight {at}", claimed=claimed, found=found, tensor=matrix.tensor.name)
