"""The files of a folder. Links, as a model hub's cache has them, are followed once and lead nowhere else."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ellq_client.errors import SourceError

PROGRESS = ".ellq-progress"
"""Name of the folder, inside an output that is not finished, in which the work is done."""

WEIGHTS = ".safetensors"
"""How names of files of weights end."""

_LEFT_OUT = frozenset({".git", ".cache"})
"""Folders that hold copies of the very weights that are compressed."""

_SNAPSHOTS, _BLOBS = "snapshots", "blobs"
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class FolderFile:
    """One file of a folder."""

    name: str
    """Its name from the folder on, with slashes."""
    path: Path
    """Where its bytes lie: absolute, and no link any more."""


def list_files(folder: Path) -> tuple[FolderFile, ...]:
    """Return all files of a folder and the folders in it, by name. Errors: SourceError that lists all that is wrong."""
    try:
        root = folder.resolve(strict=True)
        found = list(_walk(root, root, trees_of(root)))
    except OSError as error:
        raise SourceError(f"cannot read {folder}: {error.strerror}") from error
    refuse(folder, [one for one in found if isinstance(one, str)])
    return tuple(sorted((one for one in found if isinstance(one, FolderFile)), key=lambda file: file.name))


def trees_of(root: Path) -> tuple[Path, ...]:
    """Return the folders that links may lead into: this one and, for a snapshot in a hub's cache, that of its blobs."""
    blobs = root.parent.parent / _BLOBS
    return (root, blobs) if root.parent.name == _SNAPSHOTS and blobs.is_dir() else (root,)


def refuse(folder: Path, problems: Sequence[str]) -> None:
    """Raise SourceError that lists the problems, if there are any."""
    if problems:
        told = [*problems[:_MOST_TOLD], *([f"and {len(problems) - _MOST_TOLD} more"] if len(problems) > _MOST_TOLD else [])]
        raise SourceError("\n  ".join([f"{folder} cannot be read as a checkpoint:", *told]))


def _walk(directory: Path, root: Path, trees: Sequence[Path]) -> Iterator[FolderFile | str]:
    """Yield files, and problems as text."""
    with os.scandir(directory) as entries:
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(root).as_posix()
            if entry.name == PROGRESS:
                yield f"{name}: {_told_of_progress(entry)}"
            elif entry.is_symlink():
                yield _follow(path, name, trees)
            elif entry.is_file():
                yield FolderFile(name, path)
            elif not entry.is_dir():
                yield f"{name} is no ordinary file"
            elif entry.name not in _LEFT_OUT:
                yield from _walk(path, root, trees)


def _told_of_progress(entry: os.DirEntry[str]) -> str:
    if entry.is_dir(follow_symlinks=False):
        return "this is itself a compression that is not finished"
    return "the output needs this name for the work on it; rename the file or move it elsewhere"


def _follow(link: Path, name: str, trees: Sequence[Path]) -> FolderFile | str:
    target = Path(os.path.normpath(link.parent / link.readlink()))
    if not any(target.is_relative_to(tree) for tree in trees):
        return f"{name} is a link that leads out of {' and '.join(map(str, trees))}, to {target}"
    if not os.path.lexists(target):
        return f"{name} is a link to {target}, which does not exist"
    if target.is_symlink() or os.path.realpath(target) != str(target):
        return f"{name} is a link to {target}, which is or lies behind another link; links are followed once"
    if not stat.S_ISREG(target.stat().st_mode):
        return f"{name} is a link to {target}, which is no ordinary file"
    return FolderFile(name, target)
