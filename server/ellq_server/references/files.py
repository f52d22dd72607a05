"""Files on a volume of the server."""

import errno
import os
import secrets
import stat
from contextlib import suppress

from ellq.v1.frames import Data
from ellq_server.references.allowed import Admitted
from ellq_server.references.contract import Stored
from ellq_server.references.failures import changed, exists, no_file, no_folder, told, unavailable
from ellq_server.references.folders import folder_of
from ellq_server.references.hashing import RunningDigest
from ellq_server.references.steps import Steps
from ellq_server.references.uri import ONE_OBJECT

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK: opening a named pipe must not wait for its other end."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL

_ORDINARY = 0o666
"""Permission bits that a new file asks for: all that the umask of the server leaves."""

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class FileReader:
    """A file as it was when it was opened."""

    def __init__(self, admitted: Admitted, *, seconds: float) -> None:
        self._admitted, self._steps = admitted, Steps(seconds=seconds)
        self._file: int | None = None
        self._state: os.stat_result
        self.size_bytes = 0

    async def open(self) -> "FileReader":
        """Open the file. Errors: those of Readable.read."""
        try:
            async with told(self._admitted, "asked to open it"):
                await self._steps.run(self._open)
        except BaseException:
            await self.close()
            raise
        return self

    def _open(self) -> None:
        with folder_of(self._admitted) as folder:
            self._file = os.open(self._admitted.reference.parts[-1], os.O_RDONLY | _NO_LINK, dir_fd=folder)
        self._state = os.fstat(self._file)
        if stat.S_ISDIR(self._state.st_mode):
            raise no_file(self._admitted, f"is a folder; {ONE_OBJECT}")
        if not stat.S_ISREG(self._state.st_mode):
            raise no_file(self._admitted, "is no ordinary file")
        self.size_bytes = self._state.st_size

    async def read(self, begin: int, end: int) -> Data:
        """Return these bytes, unless the file has changed since it was opened."""
        async with told(self._admitted, "asked to read it"):
            data, now = await self._steps.run(self._read, begin, end)
        same = (now.st_size, now.st_mtime_ns) == (self._state.st_size, self._state.st_mtime_ns)
        if not same or len(data) != end - begin:
            raise changed(self._admitted)
        return data

    def _read(self, begin: int, end: int) -> tuple[bytes, os.stat_result]:
        assert self._file is not None, "open() comes first"
        data = b""
        while len(data) < end - begin and (more := os.pread(self._file, end - begin - len(data), begin + len(data))):
            data = data + more if data else more
        return data, os.fstat(self._file)

    async def close(self) -> None:
        """Close the file."""
        await self._steps.end(self._close)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class FileWriter:
    """A file that is written beside its place under another name, and gets its own when it is whole and on the disk."""

    def __init__(self, admitted: Admitted, *, replace: bool, seconds: float) -> None:
        self._admitted, self._replace = admitted, replace
        self._name = admitted.reference.parts[-1]
        self._partial = f".{self._name[:200]}.{secrets.token_hex(4)}.partial"
        self._file: int | None = None
        self._folder: int | None = None
        self._steps = Steps(seconds=seconds)
        self._digest = RunningDigest()

    def memory_bytes(self, size_bytes: int) -> int:
        """Return nothing: bytes go to the system as they come."""
        return 0

    async def begin(self, size_bytes: int) -> None:
        """Create the file beside its place."""
        async with told(self._admitted, "asked to create it"):
            await self._steps.run(self._create)

    def _create(self) -> None:
        try:
            with folder_of(self._admitted) as folder:
                there = self._there(folder)
                self._check_place(there)
                self._folder = os.dup(folder)
                self._file = os.open(self._partial, _NEW | _NO_LINK, _permissions(there), dir_fd=folder)
        except FileNotFoundError:
            raise no_folder(self._admitted) from None

    async def write(self, data: Data) -> None:
        """Append to the file."""
        async with told(self._admitted, "asked to write it"):
            await self._steps.run(self._append, memoryview(data))
        await self._digest.update(data)

    async def finish(self) -> Stored:
        """Flush the file to the disk, give it its name, and flush the name, too."""
        async with told(self._admitted, "asked to flush it to the disk"):
            await self._steps.run(self._appear)
        return Stored(str(self._admitted.reference), self._digest.length_bytes, self._digest.value(), "")

    async def abort(self) -> None:
        """Remove the file, if it has not its name yet, and close it."""
        await self._steps.end(self._remove)

    def _append(self, data: memoryview) -> None:
        assert self._file is not None, "begin() comes first"
        while data:
            data = data[os.write(self._file, data) :]

    def _appear(self) -> None:
        assert self._file is not None, "begin() comes first"
        assert self._folder is not None
        os.fsync(self._file)
        if os.fstat(self._file).st_size != self._digest.length_bytes:
            raise unavailable(self._admitted, "the file system kept another number of bytes than were written")
        if self._replace:
            os.replace(self._partial, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        else:
            self._appear_first(self._folder)
        os.fsync(self._folder)

    def _appear_first(self, folder: int) -> None:
        """Give the file its name unless there is one of that name: a link is refused where a rename would replace it."""
        try:
            os.link(self._partial, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError:
            raise exists(self._admitted) from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._check_place(self._there(folder))  # all that is left on such a file system
            os.replace(self._partial, self._name, src_dir_fd=folder, dst_dir_fd=folder)

    def _there(self, folder: int) -> os.stat_result | None:
        """Return what stands at the file's place; None: nothing."""
        try:
            return os.stat(self._name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _check_place(self, there: os.stat_result | None) -> None:
        """Refuse to replace anything but an ordinary file, and that only where it is wanted."""
        if there is None:
            return
        if not stat.S_ISREG(there.st_mode):
            raise no_file(self._admitted, "is there already and is no ordinary file")
        if not self._replace:
            raise exists(self._admitted)

    def _remove(self) -> None:
        if self._file is not None:
            os.close(self._file)
            with suppress(FileNotFoundError):  # it has its name
                os.unlink(self._partial, dir_fd=self._folder)
            self._file = None
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None


def _permissions(there: os.stat_result | None) -> int:
    """Return the permission bits to ask for: those of the file that is replaced at most, which may be closed to others."""
    return _ORDINARY if there is None else _ORDINARY & stat.S_IMODE(there.st_mode)
