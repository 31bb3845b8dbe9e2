"""What a route may ask for."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from retrieval.service.service import Service, Snapshot


def service_of(request: Request) -> Service:
    """The service that the application was made for."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def current_service(request: Request) -> Service:
    """The service that the application was made for, without a thread."""
    return service_of(request)


async def current_snapshot(request: Request) -> AsyncIterator[Snapshot]:
    """The store as it is now, which stays open until the request ends."""
    with service_of(request).held() as snapshot:
        yield snapshot


CurrentService = Annotated[Service, Depends(current_service)]
CurrentSnapshot = Annotated[Snapshot, Depends(current_snapshot)]
