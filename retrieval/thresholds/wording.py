"""Thresholds as people read them: as scores, as distances, and in words where nothing matches."""

from retrieval.thresholds.strategies import reaches_none

NOTHING_MATCHES = "nothing matches"


def threshold_text(thresholds: tuple[float, ...]) -> str:
    """One threshold, or those of several spaces, of which some may take nothing."""
    if len(thresholds) == 1 and reaches_none(thresholds[0]):
        return NOTHING_MATCHES
    return ", ".join("none" if reaches_none(each) else f"{each:.4f}" for each in thresholds)


def distance_text(thresholds: tuple[float, ...]) -> str:
    """1 − each threshold; – where no score reaches it."""
    return ", ".join(
        "–" if reaches_none(each) else f"{round(1 - each, 4) + 0.0:.4f}" for each in thresholds
    )


def cut_text(thresholds: tuple[float, ...], between: str = ", ") -> str:
    """Where scores and distances are cut, or that nothing matches."""
    scores = threshold_text(thresholds)
    if scores == NOTHING_MATCHES:
        return scores
    return f"score ≥ {scores}{between}distance ≤ {distance_text(thresholds)}"
