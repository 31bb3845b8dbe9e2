"""From embeddings to neighbours, thresholds and matches."""
