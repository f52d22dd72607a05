"""Opens what may be opened. One for each server; it knows the prefixes, and the stores that calls share."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from ellq_server.logs import log
from ellq_server.references.allowed import READABLE, WRITABLE, Admitted, Allowed, allowed_by
from ellq_server.references.contract import Readable, Writable
from ellq_server.references.files import FileReader, FileWriter
from ellq_server.references.hub import HubReader
from ellq_server.references.objects import ObjectReader, open_store
from ellq_server.references.uploads import ObjectWriter
from ellq_server.references.uri import Reference
from ellq_server.refusals import ReferenceRefused
from ellq_server.settings import Settings

LAST_STEP_SECONDS = 10.0
"""How long a server that stops waits for the uploads of calls that it has cancelled to be aborted."""

_PACKAGES = {"s3": "obstore", "gs": "obstore", "az": "obstore", "hf": "huggingface_hub"}


class ReferencesUnavailable(RuntimeError):
    """A prefix needs a package that is not installed."""


class Doors:
    """Whatever calls open by reference. Lives as long as the server."""

    def __init__(self, settings: Settings) -> None:
        """Read the prefixes; nothing is opened. Errors: UnusablePrefix, ReferencesUnavailable."""
        self.sources = allowed_by("ELLQ_SOURCE_PREFIXES", settings.source_prefixes, READABLE)
        self.outputs = allowed_by("ELLQ_OUTPUT_PREFIXES", settings.output_prefixes, WRITABLE)
        self._hosts = tuple(filter(None, map(str.strip, settings.hub_hosts.split(","))))
        self._seconds = settings.store_seconds
        self._store = cache(lambda scheme, place: open_store(scheme, place, seconds=self._seconds))
        self._writing: set[asyncio.Future[None]] = set()
        _check_packages(self.sources, self.outputs)
        _warn_of_folders(self.sources, self.outputs)

    @property
    def patience_seconds(self) -> float:
        """Longer than a store may take for one answer, so that its own failure is told first."""
        return 2 * self._seconds

    @asynccontextmanager
    async def source(self, uri: str) -> AsyncGenerator[Readable | None]:
        """Open `options.source_uri`; None when there is none. Errors: ReferenceRefused, StoreUnavailable."""
        if not uri:
            yield None
            return
        readable = await self._readable(self.sources.admit(uri, field="options.source_uri"))
        try:
            yield readable
        finally:
            await readable.close()

    @asynccontextmanager
    async def output(self, uri: str, *, source_uri: str, replace: bool) -> AsyncGenerator[Writable | None]:
        """Prepare `options.output_uri`; None when there is none. What is not finished at the end is aborted.

        `replace`: what is there already is replaced, not refused. Errors: ReferenceRefused.
        """
        if not uri:
            yield None
            return
        admitted = self.outputs.admit(uri, field="options.output_uri")
        if source_uri and str(admitted.reference) == str(self.sources.admit(source_uri, field="options.source_uri").reference):
            message = f"{admitted} is the source itself; name another object"
            raise ReferenceRefused(message, reason="INVALID_URI", field=admitted.field)
        writable, ended = await self._writable(admitted, replace=replace), asyncio.get_running_loop().create_future()
        self._writing.add(ended)
        try:
            yield writable
        finally:
            aborting = asyncio.create_task(writable.abort())
            aborting.add_done_callback(lambda _: (ended.set_result(None), self._writing.discard(ended)))
            await asyncio.shield(aborting)  # a call that is cancelled once more must not leave it half done

    async def settle(self) -> None:
        """Wait until the outputs of all calls are finished or aborted, but not for ever."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=LAST_STEP_SECONDS)

    async def _readable(self, admitted: Admitted) -> Readable:
        reference = admitted.reference
        if reference.scheme == "file":
            return await FileReader(admitted, seconds=self._seconds).open()
        if reference.scheme == "hf":
            return await HubReader(admitted, hosts=self._hosts, seconds=self._seconds).open()
        return await ObjectReader(await self._store_of(reference), admitted, seconds=self._seconds).open()

    async def _writable(self, admitted: Admitted, *, replace: bool) -> Writable:
        reference = admitted.reference
        if reference.scheme == "file":
            return FileWriter(admitted, replace=replace, seconds=self._seconds)
        return ObjectWriter(await self._store_of(reference), admitted, replace=replace, seconds=self._seconds)

    async def _store_of(self, reference: Reference) -> Any:
        """Return the store of an object. In a thread: the first time imports its library, and health checks do not wait."""
        return await asyncio.to_thread(self._store, reference.scheme, reference.place)


def _check_packages(*settings: Allowed) -> None:
    """Find out at start, not in the first call, and without importing anything."""
    for allowed in settings:
        for scheme in allowed.schemes:
            package: Any = _PACKAGES.get(scheme)
            if package and find_spec(package) is None:
                message = f"{allowed.setting} has {scheme}:// and {package} is not installed: pip install 'ellq[references]'"
                raise ReferencesUnavailable(message)


def _warn_of_folders(*settings: Allowed) -> None:
    """Tell of a folder that is not there. It is no error: a volume may be mounted later."""
    for allowed in settings:
        for prefix in allowed.prefixes:
            if prefix.scheme == "file" and not os.path.exists(f"/{prefix.key}"):
                log.warning("prefix does not exist", setting=allowed.setting, prefix=str(prefix))
