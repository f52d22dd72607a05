"""What names tell of tensors, in a header of as many as a server takes: the work grows with them, not with their pairs."""

from dataclasses import dataclass

import pytest

from ellq.v1 import meanings, scales

MANY = 300


@dataclass(frozen=True)
class Named:
    """A tensor of the least size."""

    name: str
    dtype: str
    begin: int = 0
    shape: tuple[int, ...] = (1, 1)


def test_weights_and_what_may_be_their_scales_are_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [Named(f"layer.{number:03}", "F8_E4M3") for number in range(MANY)]
    tensors += [Named(f"layer.{number:03}_zero", "F32") for number in range(0, MANY, 2)]
    tensors += [Named(f"layer.zero_{number:03}", "F32") for number in range(MANY)]
    asked = 0
    leaf_of = scales.leaf_of

    def counted(name: str) -> str:
        nonlocal asked
        asked += 1
        return leaf_of(name)

    monkeypatch.setattr(scales, "leaf_of", counted)
    found = meanings.read_meanings(tensors)
    assert set(found.scales.unusable) == {f"layer.{number:03}" for number in range(0, MANY, 2)}
    assert found.scales.unusable["layer.002"] == "what layer.002_zero beside it does to it is not known"
    assert asked < 10 * len(tensors)


def test_tables_of_an_unknown_layout_are_looked_up_and_not_tried_one_by_one() -> None:
    tables = [Named(f"layer.zero{number}", "F32") for number in range(MANY)]
    others = [Named("other.zero7", "F32"), Named("other.zero", "F32")]
    found = meanings.read_meanings([Named("layer.codes", "I8"), *tables, *others])
    assert found.reason("layer.zero5") == found.reason("other.zero7") == meanings.QUANTIZED
    assert found.reason("other.zero") is None
    assert len(found.quantized.endings) < MANY
