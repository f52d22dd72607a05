"""Planning matches globs in a worker, and ends when nobody waits for it."""

import pytest

from ellq_math.interruption import Interrupted, interruptible
from ellq_server.header import TensorEntry
from ellq_server.planning import Reason, plan_tensors
from ellq_server.selections import Selection

TENSORS = [TensorEntry(f"{kind}.{place}", "F32", (2, 2), 0, 16) for kind in ("fc", "embed") for place in range(10)]


def test_planning_asks_before_every_tensor() -> None:
    answers = iter([True] * 5 + [False])
    with pytest.raises(Interrupted), interruptible(lambda: next(answers)):
        plan_tensors(TENSORS, Selection((), (), ()))
    assert next(answers, None) is None


def test_tables_are_left_alone_unless_they_are_included() -> None:
    plans = plan_tensors(TENSORS, Selection(("embed.[0-4]",), (), ())).plans
    assert [plan.reason for plan in plans] == [None] * 15 + [Reason.NAME] * 5
