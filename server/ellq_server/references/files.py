"""Files on a volume of the server."""

import asyncio
import os
import secrets
import stat
from contextlib import suppress
from typing import Any

from ellq.v1.frames import Data
from ellq_server.references.allowed import Admitted
from ellq_server.references.contract import Stored
from ellq_server.references.failures import changed, told, unavailable
from ellq_server.references.folders import folder_of, no_file
from ellq_server.references.hashing import RunningDigest
from ellq_server.references.steps import Steps

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a named pipe must not wait for its other end."""


class FileReader:
    """A file as it was when it was opened."""

    def __init__(self, admitted: Admitted, *, seconds: float) -> None:
        """Open the file. Errors: ReferenceRefused."""
        self._admitted, self._seconds, self._steps = admitted, seconds, Steps()
        with folder_of(admitted) as folder:
            self._file = os.open(admitted.reference.parts[-1], os.O_RDONLY | _NO_LINK, dir_fd=folder)
        self._state = os.fstat(self._file)
        if not stat.S_ISREG(self._state.st_mode):
            os.close(self._file)
            raise no_file(admitted, "is no ordinary file")
        self.size_bytes = self._state.st_size

    async def read(self, begin: int, end: int) -> Data:
        """Return these bytes, unless the file has changed since it was opened."""
        async with told(self._admitted, "read it"), asyncio.timeout(self._seconds):
            data, now = await self._steps.run(self._read, begin, end)
        same = (now.st_size, now.st_mtime_ns) == (self._state.st_size, self._state.st_mtime_ns)
        if not same or len(data) != end - begin:
            raise changed(self._admitted)
        return data

    def _read(self, begin: int, end: int) -> tuple[bytes, os.stat_result]:
        data = b""
        while len(data) < end - begin and (more := os.pread(self._file, end - begin - len(data), begin + len(data))):
            data = data + more if data else more
        return data, os.fstat(self._file)

    async def close(self) -> None:
        """Close the file."""
        await self._steps.settle()
        os.close(self._file)


class FileWriter:
    """A file that is written beside its place under another name, and renamed when it is whole and on the disk."""

    def __init__(self, admitted: Admitted, *, seconds: float) -> None:
        self._admitted, self._seconds = admitted, seconds
        self._name = admitted.reference.parts[-1]
        self._partial = f".{self._name[:200]}.{secrets.token_hex(4)}.partial"
        self._file: int | None = None
        self._folder = -1
        self._steps = Steps()
        self._digest = RunningDigest()

    def memory_bytes(self, size_bytes: int) -> int:
        """Return nothing: bytes go to the system as they come."""
        return 0

    async def begin(self, size_bytes: int) -> None:
        """Create the file beside its place."""
        await self._steps.run(self._create)

    def _create(self) -> None:
        with folder_of(self._admitted) as folder:
            self._check_place(folder)
            self._file = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666, dir_fd=folder)
            self._folder = os.dup(folder)

    async def write(self, data: Data) -> None:
        """Append to the file."""
        async with told(self._admitted, "write it"), asyncio.timeout(self._seconds):
            await self._steps.run(self._append, memoryview(data))
        await self._digest.update(data)

    async def finish(self) -> Stored:
        """Flush the file to the disk, rename it, and flush the name, too."""
        async with told(self._admitted, "flush it to the disk"):
            await self._steps.run(self._appear)
        self._close()
        return Stored(str(self._admitted.reference), self._digest.length_bytes, self._digest.value(), "")

    async def abort(self) -> None:
        """Remove the file, if it has not its name yet."""
        await self._steps.settle()
        if self._file is not None:
            with suppress(FileNotFoundError):  # when the call was cancelled just as the file got its name
                os.unlink(self._partial, dir_fd=self._folder)
            self._close()

    def _append(self, data: memoryview) -> None:
        assert self._file is not None, "begin() comes first"
        while data:
            data = data[os.write(self._file, data) :]

    def _appear(self) -> None:
        assert self._file is not None, "begin() comes first"
        os.fsync(self._file)
        if os.fstat(self._file).st_size != self._digest.length_bytes:
            raise unavailable(self._admitted, "the file system kept another number of bytes than were written")
        os.replace(self._partial, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)

    def _check_place(self, folder: int) -> None:
        """Refuse to replace anything but an ordinary file."""
        try:
            there: Any = os.stat(self._name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(there.st_mode):
            raise no_file(self._admitted, "is there already and is no ordinary file")

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            os.close(self._folder)
            self._file = None
