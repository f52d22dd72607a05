"""Networks, moments and margins from files, and the two commands that make networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import typer

from ellq_client.cli.places import check_new
from ellq_client.cli.wording import harmless
from ellq_client.counting import counted
from ellq_client.errors import InvalidOutput, SourceError
from ellq_client.networks import Calibration, Network

_OF_INPUTS = ("box", "l2_radius", "margins")


def network_of(words: Mapping[str, Any]) -> Network | None:
    """Return the network of --network with what the other options say of its inputs. Errors: EllqError, BadParameter."""
    given = {name: words[name] for name in _OF_INPUTS if words[name] is not None}
    if words["network"] is None:
        for name in given:
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter("says something about a network, but no --network is given", param_hint=option)
        return None
    if "margins" in given:
        given["margins"] = read_numbers(given["margins"])
    return Network.load(words["network"]).with_inputs(**given)


def moments_of(path: Path | None) -> Calibration | None:
    """Return a saved calibration. Errors: EllqError."""
    return None if path is None else Calibration.load(path)


def read_numbers(path: Path) -> Any:
    """Return the numbers in a .npy file, in a text file with one in each line, or the margins of a calibration.

    Errors: SourceError.
    """
    if path.suffix == ".safetensors":
        margins = Calibration.load(path).margins
        if not margins.size:
            raise SourceError(f"{path} is a calibration without margins")
        return margins
    try:
        found = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, ndmin=1)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SourceError(f"{path} holds no numbers: {error}") from error
    return np.asarray(found, np.float64).reshape(-1)


def write_network_of_onnx(path: Path, output: Path, *, force: bool, quiet: bool) -> None:
    """Derive the network of an ONNX file and write it."""
    from ellq_client.formats.onnx_file import OnnxFile
    from ellq_client.networks.from_onnx import network_of_onnx

    check_new(output, force=force)
    network = network_of_onnx(path)
    network.save(output, permissions=OnnxFile(path).permissions, replace=force)
    if not quiet:
        unbounded = [node.name for node in network.nodes if node.operation.kind == "unbounded"]
        typer.echo(harmless(f"written    {output}, {counted(len(network.nodes), 'node')}"))
        for name in unbounded:
            typer.echo(harmless(f"unbounded  {name}: certificates end before it"))


def shrink(path: Path, output: Path, network: Path, *, force: bool, quiet: bool) -> None:
    """Remove dead neurons from a file for good, and write the smaller file and its network."""
    from ellq_client.shrinking import shrink_file

    beside = output.with_suffix(".network.json")
    for place in (output, beside):
        if place.exists() and path.exists() and place.samefile(path):
            raise InvalidOutput(f"{place} is the source itself; name another file")
        check_new(place, force=force)
    told = shrink_file(path, output, Network.load(network), beside, replace=force)
    if not quiet:
        for line in told:
            typer.echo(harmless(line))
