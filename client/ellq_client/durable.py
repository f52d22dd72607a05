"""What is to outlive a loss of power: bytes, and the names that lead to them, are on the disk once these return."""

import os
from pathlib import Path
from typing import BinaryIO


def flush_file(file: BinaryIO) -> None:
    """Flush to the disk what was written into a file. Errors: OSError."""
    file.flush()
    os.fsync(file.fileno())


def flush_names(folder: Path) -> None:
    """Flush to the disk which files a folder holds. Errors: OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
