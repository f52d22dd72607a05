"""The command `ellq`."""

import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command and exit with one of the codes in exits.py."""
    _open_closed_streams()
    from ellq_client.cli.app import app

    app()


def _open_closed_streams() -> None:
    """Open standard streams that whoever started this has closed: else a file of weights gets their number, and their text."""
    for number in range(3):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
