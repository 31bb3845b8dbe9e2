"""`/healthz`: whether the service answers."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from retrieval.service.dependencies import current_service
from retrieval.service.service import Service

router = APIRouter(tags=["status"])


class Health(BaseModel):
    """That the service answers, and what it serves."""

    status: str
    num_items: int


@router.get("/healthz")
def healthz(service: Annotated[Service, Depends(current_service)]) -> Health:
    """Whether the service answers."""
    return Health(status="ok", num_items=len(service.snapshot.catalogue))
