"""Models of a hub: huggingface_hub knows its address and our credentials, bytes come in ranges.

A hub sends readers on to hosts that hold the bytes. They are followed to hosts that the operator names, and credentials of
the hub go to the hub alone.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urljoin, urlsplit

from ellq.v1.frames import Data
from ellq_server import __version__
from ellq_server.references.allowed import Admitted
from ellq_server.references.failures import changed, denied, missing, told, unavailable
from ellq_server.refusals import ReferenceRefused

MOST_REDIRECTS = 5

_HEADERS = {"user-agent": f"ellq/{__version__}", "accept-encoding": "identity"}
"""Ours, because those of huggingface_hub take a request of their own. Without an encoding, sizes are those of the bytes."""


class HubReader:
    """A file of a model at one commit, which never changes."""

    def __init__(self, admitted: Admitted, *, hosts: tuple[str, ...], seconds: float) -> None:
        self._admitted, self._hosts, self._seconds = admitted, hosts, seconds
        self._held = AsyncExitStack()
        self.size_bytes = 0

    async def open(self) -> "HubReader":
        """Ask for the commit and the size. Errors: those of Readable.read."""
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def _open(self) -> None:
        # in a thread: the import and the certificates of a client take longer than a health check should wait
        constants, token, client = await asyncio.to_thread(_hub_at_hand)
        self._endpoint = constants.ENDPOINT
        self._credentials = {"authorization": f"Bearer {token}"} if token else {}
        self._client = await self._held.enter_async_context(client)
        async with told(self._admitted, "asked for its commit"), asyncio.timeout(self._seconds):
            answer = await self._head(self._address(self._admitted.reference.revision or constants.DEFAULT_REVISION))
        size = answer.headers.get("x-linked-size") or answer.headers.get("content-length", "")
        commit = answer.headers.get("x-repo-commit", "")
        if not size.isdecimal() or not commit.isalnum():
            raise unavailable(self._admitted, "the hub names no commit or no size of it")
        self._url, self.size_bytes = self._address(commit), int(size)

    async def read(self, begin: int, end: int) -> Data:
        """Return these bytes of this commit."""
        doing = f"asked for bytes {begin} to {end}"
        async with told(self._admitted, doing), asyncio.timeout(self._seconds), AsyncExitStack() as held:
            answer = await self._get(self._url, {"range": f"bytes={begin}-{end - 1}"}, held)
            if answer.headers.get("content-range") != f"bytes {begin}-{end - 1}/{self.size_bytes}":
                raise changed(self._admitted)
            data = bytearray()
            async for piece in answer.aiter_raw():
                data += piece
                if len(data) > end - begin:
                    break  # somebody who says one length and sends another may never end
        if len(data) != end - begin:
            raise unavailable(self._admitted, f"its store sent {len(data)} bytes, {doing}")
        return memoryview(data)

    async def close(self) -> None:
        """Hang up."""
        await self._held.aclose()

    def _address(self, revision: str) -> str:
        from huggingface_hub import hf_hub_url

        reference = self._admitted.reference
        repository, name = f"{reference.place}/{reference.parts[0]}", "/".join(reference.parts[1:])
        return hf_hub_url(repository, name, revision=revision, endpoint=self._endpoint)

    async def _head(self, url: str) -> Any:
        """Ask the hub alone: what it tells of a file comes with its first answer, whoever holds the bytes."""
        for _ in range(MOST_REDIRECTS):
            answer = await self._client.head(url, headers=_HEADERS | self._credentials, follow_redirects=False)
            self._check(answer.status_code)
            target = urljoin(url, answer.headers.get("location", url))
            if not answer.is_redirect or not self._is_hub(target):
                return answer
            url = target
        raise unavailable(self._admitted, f"the hub sends us on more than {MOST_REDIRECTS} times")

    async def _get(self, url: str, headers: dict[str, str], held: AsyncExitStack) -> Any:
        """Follow the hub to whoever holds the bytes, as far as the operator allows."""
        for _ in range(MOST_REDIRECTS):
            known = _HEADERS | (self._credentials if self._is_hub(url) else {})
            stream = self._client.stream("GET", url, headers=known | headers, follow_redirects=False)
            answer = await held.enter_async_context(stream)
            self._check(answer.status_code)
            if not answer.is_redirect:
                return answer
            url = self._next(urljoin(url, answer.headers.get("location", "")))
        raise unavailable(self._admitted, f"the hub sends us on more than {MOST_REDIRECTS} times")

    def _next(self, url: str) -> str:
        """Return where a redirect leads. Errors: ReferenceRefused (URI_NOT_ALLOWED)."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        named = any(host == one or host.endswith(f".{one}") for one in self._hosts)
        if self._is_hub(url) or (named and parts.scheme in ("https", urlsplit(self._endpoint).scheme)):
            return url
        message = f"{self._admitted}: the hub sends us to {parts.scheme}://{host}, which is not among ELLQ_HUB_HOSTS"
        raise ReferenceRefused(message, reason="URI_NOT_ALLOWED", field=self._admitted.field)

    def _is_hub(self, url: str) -> bool:
        hub, other = urlsplit(self._endpoint), urlsplit(url)
        return (hub.scheme, hub.netloc) == (other.scheme, other.netloc)

    def _check(self, status: int) -> None:
        if status == 404:
            raise missing(self._admitted)
        if status in (401, 403):
            raise denied(self._admitted, "asked for it")
        if status >= 400:
            raise unavailable(self._admitted, f"the hub answered {status}")


def _hub_at_hand() -> tuple[Any, str | None, Any]:
    """Import what is used of huggingface_hub; return its constants, our token and a client that has no connection yet."""
    from huggingface_hub import constants, get_async_session, get_token, hf_hub_url

    assert callable(hf_hub_url), "names of this package are imported when they are first asked for"
    return constants, get_token(), get_async_session()
