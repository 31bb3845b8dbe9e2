"""Several trainings of one task, such as folds or seeds, and what their figures have in common.

The members of HEAD.safetensors are heads with all files of their own, HEAD-fold-1.safetensors say.
"""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embed.errors import HeadError, SettingsError
from embed.files import refuse_existing, replacing
from heads.attributes.baseline_learning import BaselineSettings
from heads.features import FeatureStores
from heads.head import Head, load_head
from heads.info import HeadInfo
from heads.resuming import differing
from heads.run import (
    HeadFiles,
    learner_before_training,
    refuse_checkpoint,
    refuse_epochs,
    train_to_files,
)
from heads.settings import HeadSettings
from heads.tasks import Task
from heads.training.loop import Epoch, Learner

FORMAT = "embedding-head-study"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Plan:
    """What is trained several times over; the names of all files begin as that of `output`."""

    stores: FeatureStores
    task: Task
    settings: HeadSettings
    output: Path

    def beside(self, suffix: str) -> Path:
        """HEAD.folds.json, say, for the suffix '.folds.json'."""
        return self.output.with_suffix(suffix)


@dataclass(frozen=True)
class Member:
    """One training: what it is called, where it goes, and how it differs from the others."""

    name: str
    head: Path
    task: Task
    settings: HeadSettings


@dataclass(frozen=True)
class MemberResult:
    """What a member reaches on the rows that it is reported on, and how many these are."""

    name: str
    head: Path
    info: HeadInfo
    num_rows: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """All members; `notes` are what the user should know of the rows."""

    members: tuple[MemberResult, ...]
    report: Path
    notes: tuple[str, ...] = ()

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each metric over the members."""
        return {name: statistics.fmean(values) for name, values in self._values().items()}

    @property
    def sd(self) -> dict[str, float]:
        """Its standard deviation over them, with n − 1."""
        return {name: statistics.stdev(values) for name, values in self._values().items()}

    def _values(self) -> dict[str, list[float]]:
        names = self.members[0].metrics
        return {name: [member.metrics[name] for member in self.members] for name in names}


@dataclass(frozen=True)
class Running:
    """What to do with files that are there, and who is told of the epochs and of each member.

    `on_epoch` and `on_resume` are told the name of the member first.
    """

    force: bool = False
    resume: bool = False
    on_epoch: Callable[[str, Epoch], None] = lambda name, epoch: None
    on_resume: Callable[[str, int], None] = lambda name, num_epochs: None
    on_member: Callable[[MemberResult], None] = lambda member: None


def member_path(output: Path, name: str) -> Path:
    """HEAD-fold-1.safetensors for HEAD.safetensors and 'fold 1'.

    Raises:
        SettingsError: `output` is not named .safetensors.
    """
    head = HeadFiles(output).head
    return head.with_name(f"{head.stem}-{name.replace(' ', '-')}{head.suffix}")


def train_members(
    stores: FeatureStores,
    members: Sequence[Member],
    others: Iterable[Path],
    reported: Callable[[Member, Head], tuple[int, Mapping[str, float]]],
    running: Running,
) -> Study:
    """Train each of them to its files; `reported` gives its rows' number and figures.

    With `resume`, a member whose head is complete is kept, and the one that was stopped goes on.
    `others` are the files of the study as a whole, the report first. With `force`, heads that are
    there stay until the first of the new ones can be trained.

    Raises:
        OutputExistsError: any file exists, a checkpoint among them, and neither `force` nor
            `resume`; nothing is trained and nothing deleted then.
        SettingsError: with `resume`, a member that is there was made with other settings, or a
            baseline, which has nothing to go on from; and what `train_head` raises.
    """
    others = list(others)
    refuse_epochs(members[0].settings.kind, resume=running.resume)
    _refuse_existing(members, others, running)
    if not running.resume:
        _clear(stores, members)
    results: list[MemberResult] = []
    notes: dict[str, None] = {}
    for member in members:
        notes |= dict.fromkeys(_trained(stores, member, running))
        head = load_head(member.head)
        results.append(MemberResult(member.name, member.head, head.info, *reported(member, head)))
        running.on_member(results[-1])
    return Study(tuple(results), others[0], tuple(notes))


def _refuse_existing(members: Sequence[Member], others: Sequence[Path], running: Running) -> None:
    if not (running.force or running.resume):
        for member in members:  # first, since their message knows of --resume
            refuse_checkpoint(HeadFiles(member.head).checkpoint)
    for path in others:
        refuse_existing(path, force=running.force or running.resume)
    for member in members:
        HeadFiles(member.head).refuse_existing(force=running.force or running.resume)


def _clear(stores: FeatureStores, members: Sequence[Member]) -> None:
    """Make room, since what is complete marks how far a run has come that is stopped.

    What can't be trained is refused before. A baseline is never gone on with: each of its heads
    takes the place of the old one once it is fitted.
    """
    if isinstance(members[0].settings.kind, BaselineSettings):
        return
    if any(member.head.exists() for member in members):
        _learner(stores, members[0])
    for member in members:
        member.head.unlink(missing_ok=True)
        HeadFiles(member.head).checkpoint.unlink(missing_ok=True)


def _trained(stores: FeatureStores, member: Member, running: Running) -> tuple[str, ...]:
    """Train it unless it is there; what there is to say of its rows."""
    settings = member.settings
    if running.resume and member.head.exists():
        _refuse_other(stores, member)
        return ()
    trained = train_to_files(
        stores,
        member.task,
        settings.kind,
        settings.training,
        member.head,
        force=running.force or running.resume,
        resume=running.resume,
        on_epoch=partial(running.on_epoch, member.name),
        on_resume=partial(running.on_resume, member.name),
    )
    return trained.notes


def _refuse_other(stores: FeatureStores, member: Member) -> None:
    found = load_head(member.head).info
    others = differing(found, _learner(stores, member), stores.items, member.task)
    if others:
        raise SettingsError(
            f"{member.head} was trained with another {', '.join(others)}: give the same options to "
            f"go on, or --force without --resume to train all members again"
        )


def _learner(stores: FeatureStores, member: Member) -> Learner:
    settings = member.settings
    return learner_before_training(stores, member.task, settings.kind, settings.training)


def write_report(study: Study, kind: str, details: Mapping[str, Any]) -> None:
    """HEAD.folds.json or HEAD.seeds.json, by which `heads compare` knows the members."""
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "study": kind,
        **details,
        **report_of(study),
    }
    with replacing(study.report) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def report_of(study: Study) -> dict[str, Any]:
    """The members with their figures, the mean and the standard deviation, as JSON takes them."""
    members = [
        {
            "name": member.name,
            "head": member.head.name,
            "num_train": member.info.num_train,
            "num_validation": member.info.num_validation,
            "num_rows": member.num_rows,
            "epoch": member.info.metrics.get("epoch"),  # a baseline has none
            "metrics": dict(member.metrics),
        }
        for member in study.members
    ]
    return {"members": members, "mean": study.mean, "sd": study.sd}


def read_report(path: Path) -> dict[str, Any]:
    """What `write_report` wrote.

    Raises:
        HeadError: there is no such file, or it is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HeadError(f"no report of folds or seeds at {path}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise HeadError(f"{path} is not a report of folds or seeds: it is no JSON") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION or content.get("format") != FORMAT:
        raise HeadError(
            f"{path} is not a report of folds or seeds of format version {FORMAT_VERSION}: make "
            f"one with `python -m heads train --folds` or `--seeds`"
        )
    return dict(content)
