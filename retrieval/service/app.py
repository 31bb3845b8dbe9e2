"""The web application: its routes, what guards them, and the page."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from retrieval.service.problems import RESPONSES, add_problems
from retrieval.service.review import Reviewing
from retrieval.service.routes import (
    figures,
    groups,
    items,
    listing,
    maps,
    review,
    search,
    status,
    store,
)
from retrieval.service.service import Service

ROUTERS = (
    status.router,
    store.router,
    search.router,
    items.router,
    listing.router,
    figures.router,
    groups.router,
    maps.router,
    review.router,
)


def create_app(service: Service) -> FastAPI:
    """The application, for any ASGI server."""
    # The documents that FastAPI offers load their scripts from another host.
    app = FastAPI(
        title="Product search",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        responses=RESPONSES,
    )
    app.state.service = service
    app.state.reviewing = Reviewing(service)
    add_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    page = str(files("retrieval.service") / "page")
    app.mount("/", StaticFiles(directory=page, html=True), name="page")
    return app
