"""A few bytes of anything that works, changed at random: it is read as something, or refused, and never anything else."""

from pathlib import Path
from random import Random

import pytest

from ellq_client import SourceError
from ellq_client.sources import open_source
from tests.corpus.cases import Case
from tests.corpus.generate import CASES

FILES = {title: case for title, case in CASES.items() if case.refused is None and not title.startswith(("folder", "place"))}
_ROUNDS = 40
_HEADER_BYTES = 400
"""Where most changes are: what is in front tells how to read the rest."""


@pytest.mark.timeout(120)  # of what hangs
@pytest.mark.parametrize("title", FILES)
def test_damaged_files_are_read_or_refused(title: str, tmp_path: Path) -> None:
    case: Case = FILES[title]
    source = case.write(tmp_path / "case")
    whole, chance = source.read_bytes(), Random(title)
    told = set[str]()
    for _ in range(_ROUNDS):
        source.write_bytes(damaged(whole, chance))
        try:
            told.add("read" if sum(map(len, open_source(source).frames())) else "nothing")
        except SourceError:
            told.add("refused")
    assert told <= {"read", "refused"}


def damaged(whole: bytes, chance: Random) -> bytes:
    """Return the bytes with one to eight changes: others, lost, put in, or extremes of numbers."""
    data = bytearray(whole)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 8])):
        place = chance.randrange(min(len(data), _HEADER_BYTES) if chance.random() < 0.6 else len(data)) if data else 0
        match chance.choice(["other", "bit", "lost", "more", "extreme"] if data else ["more"]):
            case "other":
                data[place] = chance.randrange(256)
            case "bit":
                data[place] ^= 1 << chance.randrange(8)
            case "lost":
                del data[place : place + chance.choice([1, 4, 16])]
            case "more":
                data[place:place] = chance.randbytes(chance.choice([1, 4, 8]))
            case "extreme":
                data[place : place + 4] = chance.choice([b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff"])
    return bytes(data)
