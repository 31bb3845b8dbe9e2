"""An open store with what does not depend on how its items match."""

from contextlib import ExitStack
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
        self._num_users, self._lock = 1, Lock()
        heads = read_heads(settings.heads)
        with ExitStack() as on_failure:
            store = on_failure.enter_context(Store(settings.store))
            len(store)  # a file that has lost its items fails now, and not with the first request
            self.catalogue = Catalogue(store, settings.title_column)
            self.images = ItemImages(self.catalogue, settings)
            self.searcher = Searcher(store)
            on_failure.callback(self.searcher.close)
            self.encoders = QueryEncoders(store, pool, heads, settings.limits.max_pixels)
            on_failure.callback(self.encoders.close)
            self.attributes = Attributes.of(store, heads)
            if self.attributes is not None:
                on_failure.callback(self.attributes.close)
            self._at_the_end = on_failure.pop_all()

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
        self._at_the_end.close()
