"""`/healthz` and `/metrics`: whether the service answers, and what it counts of itself.

Both answer without a thread, so that they do while all threads are busy.
"""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from retrieval.service.dependencies import CurrentService

router = APIRouter(tags=["status"])

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """That the service answers; `num_items` is null for those who have not shown the token."""

    status: str
    num_items: int | None


@router.get("/healthz")
async def healthz(request: Request, service: CurrentService) -> Health:
    """Whether the service answers; it needs no token, and waits for no search."""
    is_trusted = request.app.state.guard.trusts(request.headers)
    num_items = len(service.snapshot.searcher) if is_trusted else None
    return Health(status="ok", num_items=num_items)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Requests, latencies, batches, thumbnails and items, as Prometheus reads them."""
    return Response(request.app.state.metrics.text(), media_type=METRICS_TYPE)
