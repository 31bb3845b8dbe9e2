"""Training a head, of whichever kind, and the files that it leaves.

HEAD.safetensors is the head. Beside it HEAD.md says what it is, HEAD.jsonl holds one JSON object a
line for each epoch, HEAD.png draws them, and while training goes on HEAD.checkpoint is what a
killed run goes on from.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from embed.errors import OutputExistsError, SettingsError
from embed.files import refuse_existing, replacing
from embed.wording import counted
from heads.attributes.baseline_learning import BaselineSettings, train_baseline
from heads.attributes.learner import AttributeLearner
from heads.attributes.settings import AttributeHeadSettings
from heads.card import write_card
from heads.features import FeatureStores
from heads.head import load_head, save_head
from heads.projection.learner import ProjectionLearner
from heads.projection.settings import ProjectionSettings
from heads.resuming import differing, read_history
from heads.seen import ids_of_sides
from heads.settings import KindSettings
from heads.tasks import Task, rows_digest
from heads.training.checkpoints import Checkpoint, epochs_of
from heads.training.events import EventLog
from heads.training.loop import Epoch, Learner, Reporting, TrainedHead, fit, seeded
from heads.training.sampling import make_sampler
from heads.training.settings import Runtime, TrainingSettings

SUFFIX = ".safetensors"
TRAINED_ANEW = "there was no checkpoint for --resume to go on from: trained from the start"
FINISHED = "it was finished already, with the same settings and rows: nothing is changed"


@dataclass(frozen=True)
class HeadFiles:
    """The files of a head, by the name of the first."""

    head: Path

    def __post_init__(self) -> None:
        if self.head.suffix != SUFFIX:
            raise SettingsError(f"a head is a {SUFFIX} file: found -o {self.head}")

    @property
    def history(self) -> Path:
        """One line of JSON for each epoch."""
        return self.head.with_suffix(".jsonl")

    @property
    def picture(self) -> Path:
        """The curve of its training."""
        return self.head.with_suffix(".png")

    @property
    def card(self) -> Path:
        """What the head is, was trained on and reached."""
        return self.head.with_suffix(".md")

    @property
    def checkpoint(self) -> Path:
        """What a killed run goes on from."""
        return self.head.with_suffix(".checkpoint")

    def refuse_existing(self, *, force: bool) -> None:
        """Raise OutputExistsError where one of them is there, and not `force`."""
        for path in (self.head, self.history, self.picture, self.card):
            refuse_existing(path, force=force)


def train_head(
    stores: FeatureStores,
    task: Task,
    settings: KindSettings | None = None,
    training: TrainingSettings | None = None,
    reporting: Callable[[Learner], Reporting] = lambda learner: Reporting(),
) -> TrainedHead:
    """Train a head of the kind that `settings` are of, a projection where there are none.

    It is kept as it was at the best epoch on the validation rows (or at the last, by
    `training.keep`). The same seed gives the same weights on one machine's CPU; a GPU adds up in an
    order that varies. `reporting` says who is told of the epochs of a learner.

    Raises:
        StoreError: a space or column that the store does not have, or vectors that are not finite.
        SelectionError: the task leaves too few rows or classes.
        SettingsError: settings that don't fit the data, or a learning rate that diverges.
    """
    settings, training = settings or ProjectionSettings(), training or TrainingSettings()
    started = time.monotonic()
    runtime = Runtime.choose(training, len(stores.items))
    if isinstance(settings, BaselineSettings):
        trained = train_baseline(stores, task, settings, training, runtime.device)
        return replace(trained, seconds=time.monotonic() - started)
    with seeded(training.seed, runtime.device):
        learner = make_learner(stores, task, settings, training, runtime)
        sampler = make_sampler(learner.labels.cpu(), training.sampling)
        fitted = fit(learner, sampler, training, reporting(learner))
        reported = learner.report(fitted.network)
    info = replace(
        learner.info,
        metrics={**reported.metrics, "loss": fitted.kept.loss, "epoch": fitted.kept.epoch},
        intervals=reported.intervals,
        details={
            **reported.details,
            "validation_rows": rows_digest(stores.items, task, learner.rows.val),
        },
    )
    notes = (*learner.notes, *filter(None, [sampler.note]))
    seen_ids, seconds = ids_of_sides(stores.items, learner.rows), time.monotonic() - started
    return TrainedHead(info, fitted.network, fitted.history, seconds, notes, seen_ids)


def make_learner(
    stores: FeatureStores,
    task: Task,
    settings: KindSettings,
    training: TrainingSettings,
    runtime: Runtime,
) -> Learner:
    """What is trained, of the kind that `settings` are of, still as it is before training.

    Raises:
        SettingsError: a baseline, which is fitted at once; and what `train_head` raises, but for
            divergence.
    """
    if isinstance(settings, BaselineSettings):
        raise SettingsError(
            "a baseline is fitted at once: there is nothing to search, and nothing to go on from; "
            "fit it with `python -m heads train`"
        )
    if isinstance(settings, AttributeHeadSettings):
        return AttributeLearner(stores, task, settings, training, runtime)
    return ProjectionLearner(stores, task, settings, training, runtime)


def train_to_files(
    stores: FeatureStores,
    task: Task,
    settings: KindSettings,
    training: TrainingSettings,
    output: Path,
    *,
    force: bool = False,
    resume: bool = False,
    tensorboard: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_resume: Callable[[int], None] = lambda num_epochs: None,
) -> TrainedHead:
    """`train_head` into `HeadFiles`; with `resume` a killed run goes on from its checkpoint.

    A head that is finished already is given back then, if it is of the same task and settings, and
    no file is changed. `on_resume` is told how many epochs are there before it goes on. With
    `tensorboard` the epochs go to event files in a folder of the head's name there as well.

    Raises:
        SettingsError: `output` is not named .safetensors; and what `train_head` raises.
        OutputExistsError: one of the files exists and not `force`, or a checkpoint and neither
            `force` nor `resume`; nothing is trained then.
    """
    files = HeadFiles(output)
    refuse_epochs(settings, resume=resume, tensorboard=tensorboard)
    if resume and not force and files.head.exists():
        return _finished(stores, task, settings, training, files)
    is_anew = resume and not force and not files.checkpoint.exists()
    # A run that was killed while it wrote its files has a checkpoint still, and the head last.
    files.refuse_existing(force=force or (resume and not is_anew))
    if not (force or resume):
        refuse_checkpoint(files.checkpoint)
    with ExitStack() as stack:

        def reporting(learner: Learner) -> Reporting:
            told = [on_epoch]
            if tensorboard is not None:
                log = EventLog(tensorboard / output.stem, learner.info)
                stack.callback(log.close)
                told.insert(0, log)
            checkpoint = Checkpoint(files.checkpoint, identity(learner))
            return Reporting(_to_all(told), checkpoint, resume, on_resume)

        trained = train_head(stores, task, settings, training, reporting)
    write_files(trained, files)
    Checkpoint(files.checkpoint, {}).remove()
    return replace(trained, notes=(*trained.notes, TRAINED_ANEW)) if is_anew else trained


def _finished(
    stores: FeatureStores,
    task: Task,
    settings: KindSettings,
    training: TrainingSettings,
    files: HeadFiles,
) -> TrainedHead:
    """The head that is there, as if it had just been trained."""
    started = time.monotonic()
    head = load_head(files.head)
    learner = learner_before_training(stores, task, settings, training)
    others = differing(head.info, learner, stores.items, task)
    if others:
        raise OutputExistsError(
            f"{files.head} exists already, trained with another {', '.join(others)}: give another "
            f"name, or --force without --resume to replace it"
        )
    Checkpoint(files.checkpoint, {}).remove()  # where the run was killed before it came to this
    history, seconds = read_history(files.history), time.monotonic() - started
    notes = (f"{files.head}: {FINISHED}",)
    return TrainedHead(head.info, head.network, history, seconds, notes, head.seen_ids)


def learner_before_training(
    stores: FeatureStores, task: Task, settings: KindSettings, training: TrainingSettings
) -> Learner:
    """What would be trained; raises what `make_learner` raises."""
    runtime = Runtime.choose(training, len(stores.items))
    with seeded(training.seed, runtime.device):
        return make_learner(stores, task, settings, training, runtime)


def refuse_checkpoint(path: Path) -> None:
    """Raise OutputExistsError where a training that was stopped has left its epochs."""
    if path.exists():
        number = epochs_of(path)
        when = f"after {counted(number, 'epoch')}" if number else "at an unknown epoch"
        raise OutputExistsError(
            f"{path} is of a training that was stopped {when}: give --resume to go on from there, "
            f"or --force to start anew"
        )


def _to_all(told: Sequence[Callable[[Epoch], None]]) -> Callable[[Epoch], None]:
    def tell(epoch: Epoch) -> None:
        for one in told:
            one(epoch)

    return tell


def refuse_epochs(settings: KindSettings, *, resume: bool, tensorboard: Path | None = None) -> None:
    """Raise SettingsError where a baseline, which has none, should go on or write events."""
    if not isinstance(settings, BaselineSettings):
        return
    for option, is_given in (("--resume", resume), ("--tensorboard", tensorboard is not None)):
        if is_given:
            raise SettingsError(
                f"{option} is for heads that are trained in epochs, which a baseline is not: leave "
                f"it out"
            )


def identity(learner: Learner) -> Mapping[str, Any]:
    """All that the result of training depends on: settings, fingerprints, rows and labels."""
    content = blake2b(digest_size=16)
    for rows in (learner.rows.train, learner.rows.val, learner.labels.cpu().numpy()):
        content.update(rows.tobytes())
    return {**asdict(learner.info), "rows": content.hexdigest()}


def write_files(trained: TrainedHead, files: HeadFiles) -> None:
    """The head last, so that where it is the others are as well.

    What was fitted at once has no history and no picture; those of a head that it replaces go.
    """
    if trained.history:
        from heads.plots import plot_training  # matplotlib, which training alone does without

        lines = [json.dumps(epoch.flat()) for epoch in trained.history]
        with replacing(files.history) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        plot_training(trained, files.picture)
    else:
        files.history.unlink(missing_ok=True)
        files.picture.unlink(missing_ok=True)
    write_card(trained.info, files.card, files.picture if trained.history else None)
    save_head(files.head, trained.info, trained.network, trained.seen_ids)
