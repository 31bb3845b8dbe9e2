"""The file that keeps a study's trials, and optuna, which writes it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed.errors import OutputExistsError, SettingsError
from heads.head import load_head
from heads.info import flattened
from heads.studies.trials import State, Trial

if TYPE_CHECKING:
    import optuna

HEAD = "head"
"""Under this name a study keeps the fingerprint of the head that it left."""


def require_optuna() -> Any:
    """The library, which is an extra.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SettingsError(
            f"searching settings needs optuna, which is not installed ({error}): "
            f"pip install 'product-embedding-workbench[tune]'"
        ) from error
    return optuna


@contextmanager
def open_study(optuna: Any, path: Path, identity: Mapping[str, Any]) -> Iterator["optuna.Study"]:
    """The study at `path`, a new one where there is none."""
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

    url = URL.create("sqlite", database=str(path.resolve()))
    try:
        storage = optuna.storages.RDBStorage(url.render_as_string())
        study = optuna.create_study(
            storage=storage, study_name="head", direction="maximize", load_if_exists=True
        )
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        message = " ".join(str(error).split())[:150]
        raise SettingsError(
            f"{path} is not a study, or it is damaged ({message}): give another --study"
        ) from error
    try:
        found = study.user_attrs.get("identity")
        _refuse_other(path, found, identity)
        if found is None:
            study.set_user_attr("identity", identity)
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _refuse_other(path: Path, found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    if found is None:
        return
    before, now = (_one_level(identity) for identity in (found, wanted))
    differing = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if differing:
        raise SettingsError(
            f"{path} is the study of something else: {', '.join(differing)} differ; give the same "
            f"options to go on, or another --study"
        )


def _one_level(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Names as people know them: what is searched and what is fixed stay apart."""
    searched = {f"search of {name}": value for name, value in identity["search"].items()}
    rest = {name: value for name, value in identity.items() if name != "search"}
    return searched | flattened(rest)


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Optuna says at each trial what the progress line says."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def trials_of(study: "optuna.Study") -> list[Trial]:
    """All that came to an end, numbered from 1 in their order: what was stopped is left out."""
    ended = [found for found in study.trials if _has_ended(found)]
    return [_trial(number, found) for number, found in enumerate(ended, 1)]


def _has_ended(found: "optuna.trial.FrozenTrial") -> bool:
    return found.state.name == "COMPLETE" or "error" in found.user_attrs


def _trial(number: int, found: "optuna.trial.FrozenTrial") -> Trial:
    error = found.user_attrs.get("error", "")
    state: State = "failed" if error else "complete"
    seconds = 0.0 if found.duration is None else found.duration.total_seconds()
    value = None if error else float(found.values[0])
    return Trial(number, state, value, found.params, seconds, error)


def refuse_other_head(study: "optuna.Study", head: Path) -> None:
    """Raise OutputExistsError where the head that is there is not the one that the study left."""
    if head.exists() and load_head(head).fingerprint != study.user_attrs.get(HEAD):
        raise OutputExistsError(
            f"{head} exists already and is not the head of this study: give another name, or "
            f"--force to replace it"
        )


def note_head(study: "optuna.Study", head: Path) -> None:
    """Have the study know the head that it left, so that it may replace it by a better one."""
    study.set_user_attr(HEAD, load_head(head).fingerprint)
