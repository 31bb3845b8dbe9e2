"""What soups and blends have in common: the result, and the files that it leaves."""

from collections.abc import Mapping
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
        """What the user should know of members that a blend asks in vain."""
        if self.info.kind != BLEND:
            return ()
        without = [
            m.name for m, weight in zip(self.members, self.weights, strict=True) if not weight
        ]
        tail = "has weight 0 but is asked all the same: a blend without it is quicker"
        return tuple(f"{name} {tail}" for name in without)

    @property
    def parts(self) -> tuple[tuple[Member, float, Mapping[str, float]], ...]:
        """The members, each with its weight and metrics: none where there was no store."""
        scores = self.scores or tuple({} for _ in self.members)
        return tuple(zip(self.members, self.weights, scores, strict=True))


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
