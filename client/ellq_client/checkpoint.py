"""A safetensors file on this machine, read piece by piece: what the verifier needs, without trust in either file."""

import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Self

from ellq_client.errors import SourceError
from ellq_client.headers import fitting_header_length, parse_header
from ellq_client.mistaken import PREFIX_BYTES

_PIECE_BYTES = 1 << 20


class Checkpoint:
    """An open safetensors file. Errors: SourceError."""

    def __init__(self, path: Path) -> None:
        """Open the file and read its header."""
        self.path = path
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # opening a named pipe would wait for whoever writes into it
                raise SourceError(f"{path} is no ordinary file")
            self.size_bytes = found.st_size
            self._file = path.open("rb")
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror}") from error
        try:
            self.header = self._read_header()
            self.tensors = parse_header(self.header, size_bytes=self.size_bytes, name=str(path))
        except BaseException:
            self._file.close()
            raise

    def read(self, begin: int, length: int) -> bytearray:
        """Return bytes of the file. Errors: SourceError when it ends before."""
        data = bytearray(length)
        try:
            self._file.seek(begin)
            read = self._file.readinto(data)
        except OSError as error:
            raise SourceError(f"cannot read {self.path}: {error.strerror}") from error
        if read != length:
            raise SourceError(f"{self.path} ends early: {length} bytes at {begin} do not exist")
        return data

    def pieces(self, begin: int, end: int) -> Iterator[bytearray]:
        """Yield a range of the file, a mebibyte at a time."""
        for start in range(begin, end, _PIECE_BYTES):
            yield self.read(start, min(_PIECE_BYTES, end - start))

    def digest(self, begin: int, end: int) -> str:
        """Return the SHA-256 of a range of the file, in hexadecimal."""
        found = sha256()
        for piece in self.pieces(begin, end):
            found.update(piece)
        return found.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read_header(self) -> bytes:
        prefix = self.read(0, min(PREFIX_BYTES, self.size_bytes))
        return bytes(self.read(0, fitting_header_length(prefix, size_bytes=self.size_bytes, name=str(self.path))))
