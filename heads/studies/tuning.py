"""Searching settings by the validation rows: a study that can be stopped and gone on with.

Trials are drawn by optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011) and
kept in a SQLite file. The first trial is the settings as they are without a search, as far as the
search holds them: the usual ranges do. Each draws from a generator of its own, by the seed and the
number of trials before it: a study that was stopped and gone on with has the same trials as one
that was not.

A study that has all its trials goes on as well when it is given more of them, and may then replace
the head that it left.

With folds, the last of them is held out from all trials and from the head; each of the others
validates once, and a trial's value is the mean.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embed.errors import SelectionError, SettingsError
from embed.locks import locked
from embed.wording import counted
from heads.run import (
    HeadFiles,
    identity,
    learner_before_training,
    train_head,
    train_to_files,
)
from heads.studies.drawing import Search, defaults, draw, fitted
from heads.studies.folds import refuse_empty_folds
from heads.studies.search import as_json
from heads.studies.study_files import (
    note_head,
    open_study,
    quiet,
    refuse_other_head,
    require_optuna,
    trials_of,
)
from heads.studies.trials import Trial, best_first, plot_trials, write_trials
from heads.training.loop import Epoch, Learner, TrainedHead

if TYPE_CHECKING:
    import optuna

NUM_RANDOM_TRIALS = 8
STUDY, TABLE, PICTURE = ".study.db", ".trials.csv", ".trials.png"
OF_THE_MACHINE = ("device", "memory_bytes")


@dataclass(frozen=True)
class Budget:
    """How many trials a study has in all, and after how many seconds of this run none begins."""

    trials: int
    timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.trials < 1 or (self.timeout_seconds is not None and self.timeout_seconds <= 0):
            raise SettingsError(
                f"--trials is at least 1 and --timeout-seconds above 0: found {self.trials} and "
                f"{self.timeout_seconds}"
            )


@dataclass(frozen=True)
class Tuned:
    """The trained head, all trials, and where the study lies; `metric` is what trials reached."""

    trained: TrainedHead
    trials: tuple[Trial, ...]
    metric: str
    study: Path

    @property
    def best(self) -> Trial:
        """The trial whose settings the head has."""
        return best_first(self.trials)[0]


@dataclass(frozen=True)
class Telling:
    """Who is told of each trial, with the best so far, and of the epochs of the last training.

    `on_found` is told first how many trials a study that is gone on with has already.
    """

    on_found: Callable[[int], None] = lambda num_trials: None
    on_trial: Callable[[Trial, Trial | None], None] = lambda trial, best: None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None


def tune(
    search: Search,
    budget: Budget,
    output: Path,
    study_path: Path | None = None,
    *,
    force: bool = False,
    telling: Telling | None = None,
) -> Tuned:
    """Search, and train the best settings into `output` with all files of a head.

    HEAD.study.db is the study, which is gone on with where it is there, HEAD.trials.csv and
    HEAD.trials.png are its trials. A trial that fails is recorded with its message. Stopped by
    KeyboardInterrupt, the study and both reports are in order.

    Raises:
        SettingsError: optuna is missing; the study is of another task, store or search; or no
            trial gave a head.
        OutputExistsError: a file of the head exists, which this study has not left, and not
            `force`.
        SelectionError, StoreError: as of `train_head`, before the first trial.
    """
    optuna = require_optuna()
    telling = telling or Telling()
    files = HeadFiles(output)
    path = study_path or output.with_suffix(STUDY)
    files.refuse_existing(force=force or path.exists())
    if search.folds is not None:
        refuse_empty_folds(search.stores.items, search.task, search.folds)
    learner = _learner(search)
    search = fitted(search)
    with locked(path), quiet(optuna), open_study(optuna, path, _identity(search, learner)) as study:
        if not force:
            refuse_other_head(study, files.head)
        try:
            _run(search, budget, study, learner.chosen_by, telling)
        finally:
            trials = trials_of(study)
            write_trials(trials, learner.chosen_by, output.with_suffix(TABLE))
            plot_trials(trials, learner.chosen_by, output.with_suffix(PICTURE))
        trained = _train_best(search, trials, output, telling)
        note_head(study, output)
    return Tuned(trained, tuple(trials), learner.chosen_by, path)


def _train_best(search: Search, trials: list[Trial], output: Path, telling: Telling) -> TrainedHead:
    settings = search.settings(_best(trials).settings)
    return train_to_files(
        search.stores,
        search.final_task,
        settings.kind,
        settings.training,
        output,
        force=True,
        on_epoch=telling.on_epoch,
    )


def _run(
    search: Search, budget: Budget, study: "optuna.Study", metric: str, telling: Telling
) -> None:
    started = monotonic()
    if found := trials_of(study):
        telling.on_found(len(found))
    for stale in study.get_trials(states=[_states().RUNNING]):
        study.tell(stale.number, state=_states().FAIL)
    while (number := _num_tried(study)) < budget.trials:
        if budget.timeout_seconds is not None and monotonic() - started > budget.timeout_seconds:
            break
        if number == 0 and not study.get_trials(states=[_states().WAITING]):
            study.enqueue_trial(defaults(search))
        study.sampler = _sampler(search, number)
        trial = study.ask()
        _try(search, study, trial, metric)
        trials = trials_of(study)
        telling.on_trial(trials[-1], next(iter(best_first(trials)), None))


def _states() -> Any:
    return require_optuna().trial.TrialState


def _num_tried(study: "optuna.Study") -> int:
    return len(trials_of(study))


def _sampler(search: Search, number: int) -> Any:
    seed = np.random.SeedSequence([search.settings({}).training.seed, number]).generate_state(1)
    samplers = require_optuna().samplers
    return samplers.TPESampler(seed=int(seed[0]), n_startup_trials=NUM_RANDOM_TRIALS)


def _try(search: Search, study: "optuna.Study", trial: "optuna.Trial", metric: str) -> None:
    """Train as a trial says; one that is stopped counts as not tried."""
    try:
        value = _value(search, draw(search, trial), metric)
    except (SettingsError, SelectionError, torch.OutOfMemoryError) as error:
        trial.set_user_attr("error", " ".join(str(error).split()))
        study.tell(trial, state=_states().FAIL)
    except BaseException:
        study.tell(trial, state=_states().FAIL)
        raise
    else:
        study.tell(trial, value)


def _value(search: Search, chosen: Mapping[str, Any], metric: str) -> float:
    settings = search.settings(chosen)
    first = settings.training.seed
    trainings = [
        (task, replace(settings.training, seed=seed))
        for task in search.tasks()
        for seed in range(first, first + search.seeds)
    ]
    return fmean(
        train_head(search.stores, task, settings.kind, training).info.metrics[metric]
        for task, training in trainings
    )


def _best(trials: list[Trial]) -> Trial:
    ranked = best_first(trials)
    if not ranked:
        errors = [trial.error for trial in trials if trial.error]
        raise SettingsError(
            f"none of {counted(len(trials), 'trial')} gave a head, the first of them because: "
            f"{errors[0] if errors else 'there was no time for one'}"
        )
    return ranked[0]


def _learner(search: Search) -> Learner:
    """What the settings without a search would train: refuses a task that does not fit."""
    settings = search.settings({})
    return learner_before_training(
        search.stores, search.final_task, settings.kind, settings.training
    )


def _identity(search: Search, learner: Learner) -> dict[str, Any]:
    """All that trials depend on."""
    fixed = {name: value for name, value in search.fixed.items() if name not in OF_THE_MACHINE}
    content = {
        "kind": search.kind,
        "spaces": [asdict(space) for space in learner.info.spaces],
        "task": asdict(search.task),
        "fixed settings": fixed,
        "search": as_json(search.space),
        "folds": search.folds,
        "seeds": search.seeds,
        "rows and labels": identity(learner)["rows"],
    }
    return dict(json.loads(json.dumps(content)))
