"""Snapshots of stores without a server around them."""

from retrieval.service.encoders import EncoderPool
from retrieval.service.service import Snapshot
from retrieval.service.settings import ServiceSettings


def opened_snapshot(settings: ServiceSettings) -> Snapshot:
    """A store as a service would serve it."""
    return Snapshot(settings, EncoderPool("cpu"))
