"""What a server is held to."""

from hashlib import sha256
from typing import TypeVar, cast

from ellq_client.errors import ProtocolError

Value = TypeVar("Value")

MOST_WARNINGS = 100
"""Warnings that a summary holds at most: with as many, others may be missing."""


def expect(kept: bool, what: str) -> None:
    """Do nothing where the server kept its word. Errors: ProtocolError."""
    if not kept:
        raise ProtocolError(f"the server broke the contract: {what}")


def expect_kind(kind: type[Value], value: object, what: str) -> Value:
    """Return a value that is of the kind that the server owed. Errors: ProtocolError."""
    expect(isinstance(value, kind), what)
    return cast("Value", value)


class ExpectedBytes:
    """Bytes of a known length and digest."""

    def __init__(self, length: int, digest: str | None = None) -> None:
        self.remaining = length
        self._digest = digest
        self._hash = sha256()

    def take(self, data: memoryview) -> memoryview:
        """Return as much of the data as belongs here."""
        taken = data[: self.remaining]
        self._hash.update(taken)
        self.remaining -= len(taken)
        return taken

    def check(self, name: str, *, doubt: str = "") -> None:
        """Check that all came, and the digest, when there is one to hold against.

        `doubt` follows the complaint of a wrong digest: what else it may come of. Errors: ProtocolError.
        """
        expect(not self.remaining, f"{self.remaining} bytes of {name!r} are missing")
        expect(self._digest in (None, self._hash.hexdigest()), f"the bytes of {name!r} do not have their digest{doubt}")
