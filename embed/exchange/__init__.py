"""Stores as files that other programs read, and vectors from elsewhere as stores."""
