"""Functions of rows, some thousand rows at a time."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from ellq_math.sums import Array
from ellq_math.values import Counts

BLOCK_ROWS = 1 << 13
"""64 KiB in each array: what passes from step to step stays in a core's cache, and in memory that is mapped already."""

Options = ParamSpec("Options")
Numbers = TypeVar("Numbers", Array, Counts)


def in_blocks(function: Callable[Options, Numbers]) -> Callable[Options, Numbers]:
    """Let a function that knows no row from another work on blocks of them, with the same result.

    Its positional arguments have as many rows each (arrays, RowStatistics), and it returns a number for each row.
    """
    plain: Any = function  # a slice of rows is as good as all of them, which no type tells

    @wraps(function)
    def blocked(*rows: Any, **options: Any) -> Any:
        count = len(rows[0])
        if count <= BLOCK_ROWS:
            return plain(*rows, **options)
        blocks = (slice(first, first + BLOCK_ROWS) for first in range(0, count, BLOCK_ROWS))
        parts = [plain(*(each[block] for each in rows), **options) for block in blocks]
        return np.concatenate(parts)

    return cast("Callable[Options, Numbers]", blocked)
