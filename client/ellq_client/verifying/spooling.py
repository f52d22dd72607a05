"""Files of other formats, as the verifier reads them: as the safetensors stream that was sent of them."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from ellq_client.checkpoint import Checkpoint
from ellq_client.errors import OutputError
from ellq_client.formats import family_of, open_format
from ellq_client.packing.reading import open_checkpoint


@contextmanager
def opened(path: Path) -> Generator[Checkpoint]:
    """Open a safetensors file, or a temporary one with the tensors of another format. Errors: SourceError, OutputError."""
    if family_of(path) is None:
        with open_checkpoint(path) as checkpoint:
            yield checkpoint
        return
    source = open_format(path)
    with NamedTemporaryFile(prefix="ellq-", suffix=".safetensors") as spool:
        try:
            for data in source.frames():
                spool.write(data)
            spool.flush()
        except OSError as error:
            raise OutputError(f"cannot write the tensors of {path} to {spool.name}: {error.strerror}") from error
        with Checkpoint(Path(spool.name)) as checkpoint:
            yield checkpoint
