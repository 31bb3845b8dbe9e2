"""Projection heads: spaces, side by side, become a new space in which equal products are near."""
