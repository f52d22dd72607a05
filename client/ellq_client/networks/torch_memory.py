"""Which results of a traced module lie in the same memory, and which were written over.

A trace tells of values as if nothing were ever changed in place. Where a use of x comes after `y = relu_(x)`, that use sees y,
and what is derived from the trace would be another network. No torch is imported here.
"""

from collections.abc import Hashable, Iterable, Sequence


class Memory:
    """Follows every result to the calls that made the memory it may lie in."""

    def __init__(self) -> None:
        self._makers: dict[Hashable, frozenset[Hashable]] = {}
        self._changed: set[Hashable] = set()

    def fresh(self, result: Hashable) -> None:
        """Note a result in memory of its own."""
        self._makers[result] = frozenset([result])

    def share(self, result: Hashable, taken: Sequence[Hashable]) -> None:
        """Note a result that may lie in the memory of anything that its call took."""
        self._makers[result] = frozenset([result]).union(*(self._makers[one] for one in taken))

    def change(self, written: Iterable[Hashable], *, but: Hashable = None) -> None:
        """Note that results are written over, and all others that may lie there, except for the one that says so itself."""
        makers = frozenset[Hashable]().union(*(self._makers[one] for one in written))
        if but is not None:
            self._makers[but] = self._makers.get(but, frozenset()) | makers
        self._changed |= {one for one, made in self._makers.items() if made & makers and one != but}

    def is_changed(self, result: Hashable) -> bool:
        """Tell whether a result may have been written over since it was made."""
        return result in self._changed
