"""Files on a network, through fsspec: read whole, tried again, within a time limit.

Coroutines run in fsspec's own thread, one loop for all, so that any number of threads may wait for
their files at once. Only `read` and `download` are called from outside of it.
"""

import asyncio
import concurrent.futures
import pkgutil
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from embed.errors import SourceError
from embed.sources.addresses import protocol_of

CHUNK_BYTES = 2**20
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 60.0
MAX_CONNECTIONS = 100
_TRY_AGAIN = frozenset((408, 425, 429))  # and 500 and above
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

T = TypeVar("T")


@dataclass(frozen=True)
class Backend:
    """What a protocol is read with: the package to install, and the errors that it raises."""

    package: str
    errors: tuple[str, ...]


_HTTP = Backend("fsspec[http]", ("aiohttp.ClientError",))
_S3 = Backend("s3fs", ("aiohttp.ClientError", "botocore.exceptions.BotoCoreError",
                       "botocore.exceptions.ClientError"))  # fmt: skip
_GOOGLE = Backend("gcsfs", ("aiohttp.ClientError", "gcsfs.retry.HttpError",
                            "google.auth.exceptions.GoogleAuthError"))  # fmt: skip
_AZURE = Backend("adlfs", ("azure.core.exceptions.AzureError",))
BACKENDS = {
    **{"http": _HTTP, "https": _HTTP, "s3": _S3, "s3a": _S3, "gs": _GOOGLE, "gcs": _GOOGLE},
    **{"az": _AZURE, "abfs": _AZURE, "abfss": _AZURE},
}


def open_filesystem(protocol: str) -> Any:
    """A new filesystem of a protocol, of fsspec's configuration.

    Raises:
        SourceError: what it needs is not installed.
    """
    try:
        import fsspec

        options = _s3_options(fsspec.config.conf) if BACKENDS[protocol] is _S3 else {}
        return fsspec.filesystem(protocol, skip_instance_cache=True, **options)
    except ImportError as error:
        package = BACKENDS[protocol].package
        raise SourceError(
            f"{protocol}:// addresses need {package}, which is not installed ({error}): "
            f"pip install '{package}'"
        ) from error


def _s3_options(configured: Mapping[str, Any]) -> dict[str, Any]:
    """Connections for as many threads as there may be: botocore alone opens ten."""
    own = configured.get("s3", {}).get("config_kwargs", {})
    return {"config_kwargs": {"max_pool_connections": MAX_CONNECTIONS, **own}}


class RemoteFiles:
    """Reads files of any network protocol; one for all threads of a process."""

    def __init__(self, retries: int, timeout_seconds: float) -> None:
        self._retries, self._timeout_seconds = retries, timeout_seconds
        self._filesystems: dict[str, Any] = {}
        self._lock = threading.Lock()

    def read(self, address: str, max_bytes: int) -> bytes:
        """The whole of a file, in at most `timeout_seconds`, every retry included.

        Raises:
            OSError: it can't be had in that time, or holds more than `max_bytes`.
        """
        remote = self._remote_file(address)
        return _run(self._read(remote, max_bytes))

    def download(self, address: str, path: Path) -> None:
        """Write a file of any size to `path`; `timeout_seconds` are for each silence in between.

        Raises:
            OSError: it can't be had.
        """
        remote = self._remote_file(address)
        _run(self._try(remote, lambda: remote.save(path, self._timeout_seconds)))

    async def _read(self, remote: "_RemoteFile", max_bytes: int) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._try(remote, lambda: remote.read(max_bytes))
        except TimeoutError as error:
            last = f", at last: {remote.last_error}" if remote.last_error else ""
            raise OSError(f"not there within {self._timeout_seconds:g} s{last}") from error

    async def _try(self, remote: "_RemoteFile", attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of an attempt, made again where the error may be gone by then."""
        for number in range(self._retries + 1):
            try:
                return await attempt()
            except remote.errors as error:
                remote.last_error = _reason(error)
                if number == self._retries or not _may_pass(error):
                    raise OSError(remote.last_error) from error
                await asyncio.sleep(_pause(error, number))
        raise AssertionError("the last attempt returns or raises")

    def _remote_file(self, address: str) -> "_RemoteFile":
        protocol = protocol_of(address)
        with self._lock:
            if protocol not in self._filesystems:
                self._filesystems[protocol] = _connected(protocol)
        return _RemoteFile(self._filesystems[protocol], protocol, address)


class _RemoteFile:
    def __init__(self, filesystem: Any, protocol: str, address: str) -> None:
        self._filesystem, self._protocol, self._address = filesystem, protocol, address
        self.errors = (OSError, ValueError, *map(pkgutil.resolve_name, BACKENDS[protocol].errors))
        self.last_error = ""

    async def read(self, max_bytes: int) -> bytes:
        data = bytearray()
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > max_bytes:
                    raise _TooLargeError(f"too large: at most {max_bytes:,} bytes are read")
        return bytes(data)

    async def save(self, path: Path, timeout_seconds: float) -> None:
        with path.open("wb") as file:
            async with aclosing(self._chunks()) as chunks:
                while True:
                    async with asyncio.timeout(timeout_seconds):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        return
                    file.write(chunk)

    def _chunks(self) -> AsyncGenerator[bytes, None]:
        if self._protocol in ("http", "https"):
            return self._http_chunks()
        return self._s3_chunks() if self._protocol in ("s3", "s3a") else self._ranges()

    async def _http_chunks(self) -> AsyncGenerator[bytes, None]:
        import aiohttp

        session = await self._filesystem.set_session()
        url = self._filesystem.encode_url(self._address)
        no_limit = aiohttp.ClientTimeout(total=None)  # ours is around it
        options = {"timeout": no_limit, **self._filesystem.kwargs}
        async with session.get(url, **options) as response:
            response.raise_for_status()
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    async def _s3_chunks(self) -> AsyncGenerator[bytes, None]:
        stream = await self._filesystem.open_async(self._address)
        try:
            while chunk := await stream.read(CHUNK_BYTES):
                yield chunk
        finally:
            if stream.r is not None:
                stream.r.close()

    async def _ranges(self) -> AsyncGenerator[bytes, None]:
        path = self._filesystem._strip_protocol(self._address)
        size = (await self._filesystem._info(path))["size"]
        for start in range(0, size, CHUNK_BYTES):
            end = min(size, start + CHUNK_BYTES)
            yield await self._filesystem._cat_file(path, start=start, end=end)


class _TooLargeError(PermissionError):
    """Not to be tried again."""


def _connected(protocol: str) -> Any:
    """A filesystem whose session is there, before several threads would each begin one."""
    filesystem = open_filesystem(protocol)
    filesystem.retries = 1  # s3fs: the attempts are counted here
    if hasattr(filesystem, "set_session"):
        _run(filesystem.set_session())
    return filesystem


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    from fsspec.asyn import get_loop

    future = asyncio.run_coroutine_threadsafe(coroutine, get_loop())
    try:
        return future.result()
    except concurrent.futures.CancelledError as error:  # the loop ends with the program
        raise OSError("stopped") from error


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may go better: not where the file is missing or forbidden."""
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _TRY_AGAIN
    return not isinstance(error, (*_FINAL, ValueError))  # ValueError: no URL at all


def _pause(error: BaseException, number: int) -> float:
    """Seconds until the next attempt: twice the last, or what the server asks for."""
    asked = (getattr(error, "headers", None) or {}).get("Retry-After", "")
    pause = FIRST_PAUSE_SECONDS * 2.0**number
    return min(MAX_PAUSE_SECONDS, max(pause, float(asked))) if asked.isdigit() else pause


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _reason(error: BaseException) -> str:
    status = _status(error)
    if status is not None:
        return f"HTTP {status} {getattr(error, 'message', '')}".rstrip()
    if isinstance(error, FileNotFoundError):
        return "No such file"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
