"""Better neighbours from neighbours: expansion, augmentation, blending and re-ranking."""
