"""Where items come from: folders, manifests and tar shards, on this machine or on a network."""

from embed.sources.catalogue import Catalogue, Location, require_column
from embed.sources.fetching import Fetcher, FetchSettings
from embed.sources.reading import read_source
from embed.sources.settings import SourceSettings

__all__ = [
    "Catalogue",
    "FetchSettings",
    "Fetcher",
    "Location",
    "SourceSettings",
    "read_source",
    "require_column",
]
