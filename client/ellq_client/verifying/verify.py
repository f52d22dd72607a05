"""Checks a compressed file or folder against its original and, if there is one, against the report of how it was made."""

import os
from dataclasses import replace
from pathlib import Path

from ellq_client.enclosures import AnyMoments, AnyNetwork
from ellq_client.errors import ReportError, SourceError
from ellq_client.formats import family_of
from ellq_client.report import read_report
from ellq_client.uris import AnyPath
from ellq_client.verifying.folders import verify_folders
from ellq_client.verifying.packed import check_packed
from ellq_client.verifying.pairs import Verification, hold
from ellq_client.verifying.spooling import opened


def verify(
    original: AnyPath,
    compressed: AnyPath,
    report: AnyPath | None = None,
    *,
    network: AnyNetwork | None = None,
    moments: AnyMoments | None = None,
) -> Verification:
    """Check the compressed file or folder; with a report, recompute every claim in it.

    `network` (with what was known of its inputs) and `moments` are those of the request: what rests on them can only be
    recomputed with them, and is named in the result without. Memory: a block of rows, or one tensor whose neurons are not its
    leading axes or that has moments; a layer of the network. Errors: ClaimRefuted at the first false claim; SourceError,
    ReportError, InvalidNetwork for files that cannot be read or do not belong together.
    """
    if report is None and (network is not None or moments is not None):
        raise ReportError("a network and moments serve to check the claims of a report, but no report is given")
    place = None if report is None else Path(report)
    if os.path.isdir(original) and os.path.isdir(compressed):
        return verify_folders(Path(original), Path(compressed), place, network=network, moments=moments)
    if os.path.isdir(original) != os.path.isdir(compressed):
        folder, file = (original, compressed) if os.path.isdir(original) else (compressed, original)
        other = "a file" if os.path.exists(file) else "not there"
        raise SourceError(f"{folder} is a folder, {file} is {other}; two files or two folders are held against each other")
    told = None if place is None else read_report(place)
    with opened(Path(original)) as before, opened(Path(compressed)) as after:
        held = hold(before, after, told, network=network, moments=moments)
    unchecked = check_packed([Path(compressed)], told) if family_of(Path(compressed)) is None else ()
    return replace(held, unchecked=(*held.unchecked, *unchecked))
