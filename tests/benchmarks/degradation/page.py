"""Puts tables into a page of Markdown between the comments that name them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

PLACE = re.compile(r"(<!-- table: (?P<name>[^>]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def fill(path: Path, tables: Mapping[str, Sequence[str]]) -> None:
    """Replace what stands between `<!-- table: NAME -->` and `<!-- end of table -->`. Errors: KeyError for an unknown name."""
    text = path.read_text(encoding="utf-8")
    path.write_text(PLACE.sub(lambda place: _filled(place, tables), text), encoding="utf-8")


def _filled(place: re.Match[str], tables: Mapping[str, Sequence[str]]) -> str:
    return place[1] + "\n".join(tables[place["name"]]) + "\n" + place[3]
