"""PyTorch files. They are pickles, and no pickle is executed here: torch rebuilds tensors and plain values, nothing else."""

import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ellq_client.arrays import SAFETENSORS_DTYPES, dtype_name, weight_bytes
from ellq_client.errors import ExtraMissing, OutputError, SourceError
from ellq_client.formats.contents import LONGEST_REASON, Entry, Fill, told_of
from ellq_client.formats.layouts import Layout, left_alone
from ellq_client.formats.names import is_table, layouts_by_name
from ellq_client.formats.torch_storages import overlapping, same_memory
from ellq_client.formats.torch_tree import drop_optimizers, is_optimizer, tensors_by_keys
from ellq_client.steady_file import SteadyFile

try:
    import torch
except ImportError as missing:
    raise ExtraMissing("reading a PyTorch file needs torch: pip install 'ellq[torch]'") from missing

_INSTEAD = "nothing of it was executed; save the state_dict() of the model instead"

_OF_PROGRAMS = "constants.pkl"
"""A record that only archives of TorchScript have, by which torch knows them, too."""


class TorchFile:
    """The tensors of a PyTorch file but those of optimizers, each once however many names share it. Errors: SourceError."""

    def __init__(self, path: Path) -> None:
        self._file = SteadyFile(path)
        self.permissions = self._file.permissions
        self._file.head(1)  # whoever may not read it is told so
        self._mapped = _is_archive(path)
        document, dropped = _loaded(path, mapped=self._mapped)
        tensors = _named(document, path)
        unfit = {name: why for name, tensor in tensors.items() if (why := _unfit(tensor))}
        owners = same_memory({name: tensor for name, tensor in tensors.items() if name not in unfit}, prefer=is_table)
        unique = {name: tensors[name] for name in owners.values()}
        self.entries: Sequence[Entry] = [self._entry(name, tensor) for name, tensor in unique.items()]
        self._overlapping = {name: _shared(name, other) for name, other in overlapping(unique).items()}
        self.layouts: Mapping[str, Layout] = layouts_by_name({name: tuple(tensor.shape) for name, tensor in unique.items()}) | {
            name: left_alone(why) for name, why in self._overlapping.items()
        }
        shared = {name: f"the same tensor as {owner!r}" for name, owner in owners.items() if name != owner}
        states = dict.fromkeys(dropped, "the state of an optimizer; it is left out of the output, too")
        self.not_sent: Mapping[str, str] = {**unfit, **shared, **states}

    def check_unchanged(self) -> None:
        """Refuse a file that is not what it was."""
        self._file.check_unchanged()

    def companions(self, output: Path) -> Sequence[Path]:
        """Return none."""
        return ()

    def fills(self, output: Path, changed: Mapping[str, memoryview]) -> Sequence[tuple[Path, Fill]]:
        """Read the file again, change tensors where they lie, so that whatever shares them changes too, and save it.

        Errors: OutputError for a tensor of which the change would be one of others, or of itself elsewhere.
        """
        for name in changed:
            if why := self._overlapping.get(name):
                told = f"tensor {name!r} cannot be changed where it lies: {why}; leave it out, or write .safetensors"
                raise OutputError(f"cannot write {output}: {told}")

        def fill(file: BinaryIO) -> None:
            document, _ = _loaded(self._file.path, mapped=False)
            tensors = _named(document, self._file.path)
            for name, data in changed.items():
                tensor = tensors[name].detach()
                tensor.copy_(torch.frombuffer(data, dtype=tensor.dtype).reshape(tensor.shape))
            try:
                torch.save(document, file)
            except RuntimeError as error:  # what torch makes of a full disk
                raise OutputError(f"cannot write {output}: {error}") from error

        return [(output, fill)]

    def _entry(self, name: str, tensor: Any) -> Entry:
        return Entry(name, dtype_name(tensor, name=name), tuple(tensor.shape), lambda: self._bytes(tensor))

    def _bytes(self, tensor: Any) -> memoryview:
        """Return the bytes of a tensor, copied out of a file that is mapped.

        A mapped file that becomes shorter ends the process where it is touched next. torch reads by maps, or all at once; so it
        is touched for one copy right after it was seen unchanged, and not for as long as a server takes the bytes.
        """
        self._file.check_unchanged()
        return weight_bytes(tensor.clone() if self._mapped else tensor)


def _loaded(path: Path, *, mapped: bool) -> tuple[Any, list[str]]:
    """Return the document without states of optimizers, and where they were."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dispatch to TorchScript and of old protocols, which are refused below
            document: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if is_optimizer(document):
            raise SourceError(f"{path} is the state of an optimizer; it holds no weights")
        return document, drop_optimizers(document)
    except SourceError:
        raise
    except RecursionError as error:
        raise SourceError(f"{path} nests too deeply, or holds itself") from error
    except Exception as error:  # a torn file may end in any error of Python's: torch has no class for it
        raise SourceError(f"{path} {_told(error)}") from error


def _told(error: Exception) -> str:
    """Return what torch refused, in a line: its own advice is to execute the file."""
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"holds more than tensors and plain values ({found[1]}): {_INSTEAD}"
    found = re.search(r"Unsupported [^\n]*", text)
    what = text.partition(". ")[0][:LONGEST_REASON] if found is None else found[0]
    return f"is no PyTorch file, or a damaged one ({type(error).__name__}: {what})"


def _is_archive(path: Path) -> bool:
    """Return whether this is an archive, as torch.save writes them since 1.6.

    Refused are programs, and compressed records: torch.save writes none, and a small one could fill the memory.
    """
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except Exception as error:  # of a damaged directory zipfile raises whatever its parts do
        raise SourceError(f"{path} is no PyTorch file that can be read: {told_of(error)}") from error
    if any(record.filename.rpartition("/")[2] == _OF_PROGRAMS for record in records):
        raise SourceError(f"{path} is a TorchScript archive, which holds a program: {_INSTEAD}")
    packed = [record.filename for record in records if record.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise SourceError(f"{path} is no file of torch.save: its record {packed[0]!r} is compressed")
    return True


def _named(document: Any, path: Path) -> dict[str, Any]:
    """Return the tensors by name: the keys that lead to them, with dots between."""
    try:
        found = tensors_by_keys(document, torch.Tensor)
    except RecursionError as error:
        raise SourceError(f"{path} nests too deeply, or holds itself") from error
    names = [".".join(keys) if keys else "tensor" for keys, _ in found]
    named = {name: tensor for name, (_, tensor) in zip(names, found, strict=True)}
    if len(named) < len(found):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{path} has two tensors that would both be called {twice!r}; rename one of the keys")
    return named


def _shared(name: str, other: str) -> str:
    """Return what overlaps, for a person."""
    if name == other:
        return "several of its elements share memory"
    return f"it shares memory with {other!r} without being the same"


def _unfit(tensor: Any) -> str | None:
    """Return why a tensor cannot be sent; None when it can."""
    if tensor.is_nested:
        return f"a nested tensor of {tensor.dtype}, not an array of numbers"
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return f"a {tensor.layout} tensor of {tensor.dtype} on {tensor.device.type}, not an array of numbers"
    if str(tensor.dtype).removeprefix("torch.") not in SAFETENSORS_DTYPES:
        return f"dtype {tensor.dtype}, which safetensors does not have"
    return None
