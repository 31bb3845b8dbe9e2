"""What soups and blends have in common: the result, and the files that it leaves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from heads.card import write_card
from heads.ensembles.members import Member, merged_seen_ids
from heads.ensembles.plots import plot_sweep
from heads.head import save_head
from heads.info import HeadInfo
from heads.kinds import BLEND
from heads.run import HeadFiles
from heads.wording import spoken_metric


@dataclass(frozen=True)
class Curve:
    """A metric of the validation rows over the second head's weight, from 0 to 1."""

    metric: str
    weights: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def best(self) -> int:
        """Where it is highest, the first of equals."""
        return self.values.index(max(self.values))


@dataclass(frozen=True)
class Ensemble:
    """A head made of others, their weights, and what each reaches by itself, where it was asked."""

    info: HeadInfo
    network: nn.Module
    members: tuple[Member, ...]
    weights: tuple[float, ...]
    scores: tuple[Mapping[str, float], ...] = ()
    curve: Curve | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: a member that is as good alone, or that is asked in vain."""
        return (*self._without_weight(), *self._without_gain())

    def _without_gain(self) -> Iterator[str]:
        if not self.scores:
            return
        metric = next(iter(self.scores[0]))  # the one that heads are chosen by
        own, values = self.info.metrics[metric], [score[metric] for score in self.scores]
        best = max(values)
        if own <= best:
            yield (
                f"no better than {self.members[values.index(best)].name} by itself on the "
                f"validation rows: {spoken_metric(metric)} {own:.4f} against {best:.4f}"
            )

    def _without_weight(self) -> Iterator[str]:
        if self.info.kind == BLEND:
            for member, weight in zip(self.members, self.weights, strict=True):
                if not weight:
                    yield (
                        f"{member.name} has weight 0 but is asked all the same: a blend without it "
                        f"is quicker"
                    )

    @property
    def parts(self) -> tuple[tuple[Member, float, Mapping[str, float]], ...]:
        """The members, each with its weight and metrics: none where there was no store."""
        scores = self.scores or tuple({} for _ in self.members)
        return tuple(zip(self.members, self.weights, scores, strict=True))


def files_of(ensemble: Ensemble, output: Path) -> list[Path]:
    """What `write_ensemble` writes."""
    files = HeadFiles(output)
    return [files.head, files.card, *([] if ensemble.curve is None else [files.picture])]


def write_ensemble(ensemble: Ensemble, output: Path) -> None:
    """The head, its card and, after a sweep, the curve; what an earlier head left goes."""
    files = HeadFiles(output)
    files.history.unlink(missing_ok=True)
    picture = None
    if ensemble.curve is None:
        files.picture.unlink(missing_ok=True)
    else:
        picture, curve = files.picture, ensemble.curve
        names = [Path(member.name).stem for member in ensemble.members]
        plot_sweep(curve.metric, curve.weights, curve.values, curve.best, names, picture)
    write_card(ensemble.info, files.card, picture)
    seen_ids = merged_seen_ids(ensemble.members)
    save_head(files.head, ensemble.info, ensemble.network, seen_ids)
