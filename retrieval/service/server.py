"""Running the service on a port."""

import socket

import uvicorn
from fastapi import FastAPI

from embed.errors import SettingsError
from retrieval.service.app import create_app
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings

GRACE_SECONDS = 5
BACKLOG = 2048


def serve(settings: ServiceSettings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until the process is told to end.

    Raises:
        StoreError, ThresholdError, FingerprintError: the files can't be read or don't fit.
        SettingsError: the port can't be had.
    """
    with bound(host, port) as listening:
        service = Service(settings)
        print(f"{settings.store} is served at {address_of(listening)}", flush=True)
        server_of(create_app(service)).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at this address; port 0 takes a free one.

    Raises:
        SettingsError: the address is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
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
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def server_of(app: FastAPI) -> uvicorn.Server:
    """A server of the application, to be run with a socket."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
