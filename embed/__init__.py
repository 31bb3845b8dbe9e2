"""From a source of products to a store of their embeddings."""
