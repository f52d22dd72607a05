"""What is asked of weights that the server reads or writes itself: first what is in them, then the same as of any others."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from ellq_client import conversations
from ellq_client.actions import Action, Event
from ellq_client.enclosures import Enclosures
from ellq_client.errors import InvalidOutput, SourceError
from ellq_client.fitting import fitted
from ellq_client.formats import family_of
from ellq_client.references import RemoteSink
from ellq_client.requests import Request
from ellq_client.results import Analysis, Compression, compression_of
from ellq_client.retrying import Deadline, Patience
from ellq_client.sources import Source, WeightSource, is_folder, open_source
from ellq_client.uris import is_uri


def analyze(uri: str, request: Request, enclosures: Enclosures, patience: Patience) -> Generator[Action, Event, Analysis]:
    """Analyse an object that the server reads."""
    source, patience = yield from _opened(uri, patience)
    return (yield from conversations.analyze(source, request, enclosures, patience))


def compress(
    weights: WeightSource,
    output: Path | str | None,
    request: Request,
    enclosures: Enclosures,
    patience: Patience,
    *,
    replace_output: bool,
) -> Generator[Action, Event, Compression]:
    """Compress weights of which source, output or both are the server's to open. Errors: InvalidOutput, beside all others."""
    if is_uri(output):
        _check_single(weights, output, request)
    source, patience = yield from _opened(weights, patience)
    if not is_uri(output):
        place = None if output is None else Path(output)
        calls = conversations.compress(source, place, request, enclosures, patience, replace_output=replace_output)
        return (yield from calls)
    request = fitted(request, source, enclosures)
    answer = yield from conversations.compress_into(
        RemoteSink(output, replace=replace_output), source, request, enclosures, patience
    )
    return compression_of(answer, request, source, output=None, weights=None)


def _opened(weights: WeightSource, patience: Patience) -> Generator[Action, Event, tuple[Source, Patience]]:
    """Return the source, and the patience that is left once the server has told what is in it."""
    if not is_uri(weights):
        return open_source(weights), patience
    if family_of(Path(weights)) is not None:
        raise SourceError(f"{Path(weights).name} is named like another format, which is read on this side: download it first")
    deadline = Deadline(patience)
    source = yield from conversations.describe(weights, deadline)
    return source, replace(patience, timeout_seconds=deadline.remaining_seconds())


def _check_single(weights: WeightSource, output: str, request: Request) -> None:
    """Refuse what one object cannot hold, before anything is read."""
    if not is_uri(weights) and is_folder(weights):
        raise InvalidOutput(
            f"{output}: a folder is written as a folder on this side; by reference it is one object, shard by shard"
        )
    if family_of(Path(output)) is not None:
        raise InvalidOutput(f"{Path(output).name} is named like another format; a server writes .safetensors")
    if request.encoding != "dense":
        raise InvalidOutput(f"{output}: {request.encoding} weights are written on this side; the server writes dense ones")
