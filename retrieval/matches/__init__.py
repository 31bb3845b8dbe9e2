"""From neighbours and thresholds to matches, groups and votes."""
