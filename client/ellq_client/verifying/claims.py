"""How a claim is held against what was found."""

import math
from dataclasses import dataclass

from ellq_client.errors import ClaimRefuted
from ellq_math.sums import Array

LOOSENESS = 1e-9
"""How far a claimed upper bound may lie above the recomputed one, relatively: more is true but careless.

Rounding outward costs some 1e-14 for a row that fits a machine, and a bound that goes through logs below 1e-10.
"""


@dataclass(frozen=True)
class Claims:
    """The claims about one tensor, or about the whole file. Every method raises ClaimRefuted."""

    tensor: str | None = None
    likely: str | None = None
    """What a false claim most likely means, said first."""

    def equal(self, claim: str, claimed: object, found: object) -> None:
        """Hold that both are the same."""
        if claimed != found:
            self._refute(claim, claimed, found)

    def close(self, claim: str, claimed: float, found: float, *, relative: float = 0.0, absolute: float = 0.0) -> None:
        """Hold that two roundings of one number are no further apart than they can be; infinity only equals infinity."""
        if claimed != found and not abs(claimed - found) <= max(relative * min(abs(claimed), abs(found)), absolute):
            self._refute(claim, claimed, found)

    def covers(self, claim: str, claimed: float, found: float) -> None:
        """Hold that a claimed upper bound is at least the proved one, and not carelessly above it."""
        if not found <= claimed <= found * (1 + LOOSENESS):
            self._refute(claim, claimed, f"at most {found!r}, proved")

    def about(self, claim: str, claimed: float, found: float) -> None:
        """Hold that two evaluations of one bound agree: each is rounded up by itself."""
        self.close(claim, claimed, found, relative=LOOSENESS)

    def all_close(
        self, claim: str, claimed: tuple[float, ...], found: Array, *, relative: float = 0.0, absolute: float = 0.0
    ) -> None:
        """Hold `close` for every neuron."""
        self.equal(f"{claim} (number of entries)", len(claimed), len(found))
        for neuron, (one, other) in enumerate(zip(claimed, found.tolist(), strict=True)):
            self.close(f"{claim}[{neuron}]", one, other, relative=relative, absolute=absolute)

    def all_cover(self, claim: str, claimed: tuple[float, ...], found: Array) -> None:
        """Hold `covers` for every neuron."""
        self.equal(f"{claim} (number of entries)", len(claimed), len(found))
        for neuron, (one, other) in enumerate(zip(claimed, found.tolist(), strict=True)):
            self.covers(f"{claim}[{neuron}]", one, other)

    def _refute(self, claim: str, claimed: object, found: object) -> None:
        raise ClaimRefuted(claim, claimed=_short(claimed), found=_short(found), tensor=self.tensor, likely=self.likely)


def _short(value: object) -> object:
    return repr(value) if isinstance(value, float) and math.isfinite(value) else value
