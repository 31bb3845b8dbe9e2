"""The web application: its routes, what guards them, and the page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from retrieval.service.fields import refuse_unknown
from retrieval.service.guard import Guard, GuardSettings
from retrieval.service.metrics import Metrics
from retrieval.service.problems import RESPONSES, add_problems
from retrieval.service.review import Reviewing
from retrieval.service.routes import (
    attributes,
    figures,
    groups,
    items,
    listing,
    maps,
    review,
    search,
    session,
    status,
    store,
)
from retrieval.service.service import Service
from retrieval.service.warming import WarmUp

ROUTERS = (
    session.router,
    store.router,
    search.router,
    items.router,
    listing.router,
    figures.router,
    groups.router,
    maps.router,
    review.router,
    attributes.router,
)


def create_app(service: Service, guard: GuardSettings | None = None) -> FastAPI:
    """The application, for any ASGI server; without a guard's settings, for this machine alone."""
    guard = guard or GuardSettings(max_bytes=service.settings.limits.max_bytes)
    metrics = Metrics(service)
    # The documents that FastAPI offers load their scripts from another host.
    app = FastAPI(
        title="Product search",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        responses=RESPONSES,
        lifespan=_warming_up,
    )
    app.state.service, app.state.guard, app.state.metrics = service, guard, metrics
    app.state.reviewing = Reviewing(service)
    add_problems(app)
    app.include_router(status.router)  # those who watch a service may add what they like
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(refuse_unknown)])
    page = files("retrieval.service") / "page"
    app.mount("/", StaticFiles(directory=str(page), html=True), name="page")
    app.add_middleware(Guard, settings=guard, is_open=_is_open)
    app.add_middleware(_Counted, metrics=metrics)
    return app


@asynccontextmanager
async def _warming_up(app: FastAPI) -> AsyncIterator[None]:
    """Once the server runs; what has begun is waited for when it ends."""
    warming = WarmUp(app.state.service)
    try:
        yield
    finally:
        warming.stop()


class _Counted:
    """Every request is counted, those that are refused too."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._counted = metrics.counted(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._counted(scope, receive, send)


def _is_open(method: str, path: str) -> bool:
    """Whether a request needs no token: for the page's own files, which hold no data.

    So does `/healthz`, which load balancers ask; it tells strangers nothing of the store.
    """
    return method in ("GET", "HEAD") and (path == "/healthz" or path in _page_files())


@cache
def _page_files() -> frozenset[str]:
    page = Path(str(files("retrieval.service") / "page"))
    names = (path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file())
    return frozenset(("/", *(f"/{name}" for name in names)))
