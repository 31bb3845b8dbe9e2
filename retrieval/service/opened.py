"""An open store with what does not depend on how its items match."""

from functools import cached_property
from itertools import count
from threading import Lock

from embed.store import Store
from retrieval.choosing import Chosen
from retrieval.search.sides import Sides
from retrieval.service.attributes import Attributes
from retrieval.service.catalogue import Catalogue
from retrieval.service.encoders import EncoderPool
from retrieval.service.images import ItemImages
from retrieval.service.queries import QueryEncoders, read_heads
from retrieval.service.search import Searcher
from retrieval.service.settings import ServiceSettings

_NUMBERS = count()


class OpenedStore:
    """A store with its images, vectors and encoders, open until the last of its users closes it.

    `number` is another one for each store that is opened.

    Raises:
        StoreError: the file is no store.
        HeadError: a head can't be read.
    """

    def __init__(self, settings: ServiceSettings, pool: EncoderPool) -> None:
        self.number = next(_NUMBERS)
        heads = read_heads(settings.heads)
        self.catalogue = Catalogue(Store(settings.store), settings.title_column)
        store = self.catalogue.store
        len(store)  # a file that has lost its items fails now, and not with the first request
        self.images = ItemImages(self.catalogue, settings)
        self.searcher = Searcher(store)
        self.encoders = QueryEncoders(store, pool, heads, settings.limits.max_pixels)
        self.attributes = Attributes.of(store, heads)
        self._num_users, self._lock = 1, Lock()

    @cached_property
    def sides(self) -> Sides:
        """All items, among one another."""
        return Chosen().sides(self.catalogue.store)

    def shared(self) -> "OpenedStore":
        """The same, for one user more."""
        with self._lock:
            self._num_users += 1
        return self

    def close(self) -> None:
        """Close the store's file after its last user; arrays mapped from it stay valid."""
        with self._lock:
            self._num_users -= 1
            if self._num_users:
                return
        self.searcher.close()
        self.encoders.close()
        if self.attributes is not None:
            self.attributes.close()
        self.catalogue.store.close()
