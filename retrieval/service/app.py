"""The web application: its routes, what guards them, and the page."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from retrieval.service.routes import status
from retrieval.service.service import Service

ROUTERS = (status.router,)


def create_app(service: Service) -> FastAPI:
    """The application, for any ASGI server."""
    # The documents that FastAPI offers load their scripts from another host.
    app = FastAPI(
        title="Product search",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    page = str(files("retrieval.service") / "page")
    app.mount("/", StaticFiles(directory=page, html=True), name="page")
    return app
