"""Neighbours of items, exactly or approximately, in spaces of every kind."""
