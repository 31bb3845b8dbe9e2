"""Attribute heads: a classifier for each attribute, of each category where there are some."""
