"""Tuning a threshold into a file, with a picture beside it."""

from pathlib import Path

from embed.errors import SettingsError
from embed.files import refuse_existing
from embed.store import Store
from retrieval.thresholds.files import save
from retrieval.thresholds.plots import plot_threshold
from retrieval.thresholds.tune_settings import TuneSettings
from retrieval.thresholds.tuning import ThresholdResult, tune_threshold


def tune_to_file(
    store: Store,
    settings: TuneSettings,
    path: Path | None,
    *,
    gallery_store: Store | None = None,
    force: bool = False,
) -> ThresholdResult:
    """`tune_threshold`, with the threshold saved to `path`, if any, and its picture beside it.

    Raises:
        OutputExistsError: one of the two files exists and `force` was not given; nothing is
            computed then.
        SettingsError: `path` is itself named .png; and what `tune_threshold` raises.
    """
    if path is None:
        return tune_threshold(store, settings, gallery_store)
    picture_path = path.with_suffix(".png")
    if picture_path == path:
        raise SettingsError(f"-o names the JSON file of the threshold: found {path}")
    for output in (path, picture_path):
        refuse_existing(output, force=force)
    result = tune_threshold(store, settings, gallery_store)
    save(result, path, force=force)
    if result.picture is None:
        picture_path.unlink(missing_ok=True)  # of a threshold that this one replaces
    else:
        plot_threshold(result, picture_path)
    return result
