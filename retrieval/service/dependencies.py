"""What a route may ask for."""

from fastapi import Request

from retrieval.service.service import Service


def current_service(request: Request) -> Service:
    """The service that the application was made for."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
