"""Running the service on a port."""

import resource
import socket
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from embed.errors import SettingsError
from retrieval.service.app import create_app
from retrieval.service.connections import TimedProtocol
from retrieval.service.guard import guard_of
from retrieval.service.reloading import Watch
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings

GRACE_SECONDS = 5
BACKLOG = 2048
MOST_CONNECTIONS = 2048
"""More are answered with 503; each needs a descriptor, and hardly anything else while it idles."""
NUM_THREADS = 96
"""Requests that are worked on at once: more than may wait for one encoder, so that the rest goes on
while it is busy."""


@dataclass(frozen=True)
class ServerSettings:
    """Where the service listens, and whom it lets in.

    Attributes:
        host, port: the address; port 0 takes a free one.
        token_path: a file with the token; needed where other machines reach the host.
        allowed_hosts: further names under which the service is reached.
        reload: whether a store that is replaced is taken up.
        open_browser: whether to show the page.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_path: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    reload: bool = False
    open_browser: bool = False


def serve(settings: ServiceSettings, server: ServerSettings) -> None:
    """Serve until the process is told to end.

    Raises:
        StoreError, ThresholdError, HeadError, FingerprintError: files can't be read or don't fit.
        SettingsError: the port can't be had, or a token is missing.
    """
    limits = settings.limits
    guard = guard_of(server.host, server.token_path, server.allowed_hosts, limits.max_bytes)
    with bound(server.host, server.port) as listening, opened(settings, server.reload) as service:
        _allow_many_files()
        address = address_of(listening)
        print(f"{settings.store} is served at {address}", flush=True)
        if server.open_browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # uvicorn passes it on once all has ended
            server_of(create_app(service, guard)).run(sockets=[listening])


@contextmanager
def opened(settings: ServiceSettings, reload: bool = False) -> Iterator[Service]:
    """A service for as long as the block lasts."""
    service = Service(settings)
    watch = Watch(service) if reload else None
    try:
        yield service
    finally:
        if watch is not None:
            watch.stop()
        service.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at this address; port 0 takes a free one.

    Raises:
        SettingsError: the address is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends what it has at once: otherwise an answer's second part
    # waits 40 ms for the first to be acknowledged.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"can't listen on {host} port {port} ({reason}): give another --port, or 0 for a free "
            f"one"
        ) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def server_of(app: FastAPI) -> uvicorn.Server:
    """A server of the application, to be run with a socket."""
    return _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="on",
            http=TimedProtocol,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


class _Server(uvicorn.Server):
    """A server whose requests have threads enough."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        current_default_thread_limiter().total_tokens = NUM_THREADS
        await super().startup(sockets)


def _allow_many_files() -> None:
    """As many descriptors as connections need, where the system lets us have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + 512
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
