"""Thresholds that say which neighbours are matches."""
