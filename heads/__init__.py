"""Small heads that are trained on frozen embeddings."""
