"""The two commands about packed files."""

import os
from pathlib import Path

import typer

from ellq_client.cli.places import check_new
from ellq_client.cli.progress import display, work_on
from ellq_client.cli.wording import harmless
from ellq_client.formats import family_of
from ellq_client.repacking import pack as pack_weights
from ellq_client.repacking import unpack as unpack_weights


def pack(path: Path, output: Path, *, force: bool, quiet: bool) -> None:
    """Pack a file or a folder and say how small it became."""
    is_folder = _check(path, output, force=force)
    with display(work_on(path), quiet=quiet) as show:
        sizes = pack_weights(path, output, replace_output=force, progress=lambda done, shard: show(done, harmless(shard)))
    if not quiet:
        kept = "" if is_folder or family_of(path) is None else f"; of {path.name} the tensors alone"
        typer.echo(harmless(f"written    {output}, {sizes.told()}{kept}"))


def unpack(path: Path, output: Path, *, force: bool, quiet: bool) -> None:
    """Unpack a file or a folder."""
    _check(path, output, force=force)
    with display(work_on(path), quiet=quiet) as show:
        unpack_weights(path, output, replace_output=force, progress=lambda done, shard: show(done, harmless(shard)))
    if not quiet:
        typer.echo(harmless(f"written    {output}, dense; every digest holds"))


def _check(path: Path, output: Path, *, force: bool) -> bool:
    """Check the place of an output, which of a folder the run itself does; return whether it is one."""
    is_folder = os.path.isdir(path)  # which raises nothing for a name that is too long
    if not is_folder:
        check_new(output, force=force)
    return is_folder
