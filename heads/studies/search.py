"""What a search tries: ranges and choices for the options of `heads train`, by their names.

`SEARCH_SPACES` is where a search starts from; a YAML file replaces it, `NAME=…` replaces one entry:

    learning_rate: {low: 0.0001, high: 0.01, log: true}
    batch_size: [128, 256, 512]
    dropout: 0.0:0.5

An option that only some losses, bodies and so on use is drawn where one of these was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from embed.errors import SettingsError
from heads import conditions
from heads.info import flattened
from heads.settings import PAIR_LOSSES, HeadSettings, head_settings

NOT_SEARCHED = {"seed", "device", "memory_bytes", "milestones"}
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both of them included: whole ones where both are whole.

    With `log`, each factor is as likely as any other.
    """

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        is_finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not is_finite or self.low >= self.high or (self.log and self.low <= 0):
            raise SettingsError(
                f"a range goes from a lower to a higher number, above 0 for :log: found "
                f"{self.low:g}:{self.high:g}{':log' if self.log else ''}"
            )

    def holds(self, value: object) -> bool:
        """Whether the search could draw it."""
        return (
            isinstance(value, int if self.is_whole else int | float)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
        )

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Scalar, ...]

    def holds(self, value: object) -> bool:
        """Whether the search could draw it."""
        return value in self.values


Dimension = Range | Choice
SearchSpace = Mapping[str, Dimension]

SEARCH_SPACES: dict[str, SearchSpace] = {
    "projection": {
        "body": Choice(("linear", "mlp", "residual")),
        "dim": Choice((64, 128, 256, 512)),
        "width": Choice((256, 512, 1024)),
        "start": Choice(("auto", "random")),
        "dropout": Range(0.0, 0.6),
        "loss": Choice(("arcface", "cosface", "proxy-anchor", "supcon")),
        "scale": Range(8.0, 48.0, log=True),
        "margin_radians": Range(0.1, 0.9),
        "margin_cosine": Range(0.05, 0.5),
        "label_smoothing": Range(0.0, 0.2),
        "learning_rate": Range(5e-5, 5e-3, log=True),
        "weight_decay": Range(1e-4, 0.3, log=True),
        "batch_size": Choice((None, 128, 256, 512)),
        "epochs": Range(8, 40),
    },
    "attributes": {
        "hidden": Choice((0, 128, 256, 512)),
        "dropout": Range(0.0, 0.7),
        "input_dropout": Range(0.0, 0.7),
        "class_weights": Choice((False, True)),
        "focal_gamma": Range(0.0, 2.0),
        "label_smoothing": Range(0.0, 0.2),
        "mixup": Range(0.0, 0.4),
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "weight_decay": Range(1e-4, 0.3, log=True),
        "batch_size": Choice((None, 64, 128, 256)),
        "epochs": Range(8, 60),
    },
}
"""By kind of head; an option that is given on the command line is left out.

The default of each is among what can be drawn: a `batch_size` of None goes by the rows.
"""


def search_space(
    kind: str, fixed: Mapping[str, Any], path: Path | None = None, entries: Sequence[str] = ()
) -> SearchSpace:
    """What to search for a kind of head: the file's or its own, with `entries` of NAME=… over it.

    Names of the kind's own space that are `fixed` are left out.

    Raises:
        SettingsError: a name that is no option of this kind, or one that is fixed as well; values
            that are no range and no choice; or nothing that is left to search.
    """
    if kind not in SEARCH_SPACES:
        raise SettingsError(f"--kind {kind} has no settings to search: train it as it is")
    asked = {} if path is None else _from_file(path)
    asked |= dict(_entry(text) for text in entries)
    for name in asked:
        _refuse_name(kind, name, fixed)
    own = SEARCH_SPACES[kind] if path is None else {}
    space = {name: dimension for name, dimension in own.items() if name not in fixed} | asked
    if not space:
        raise SettingsError(f"nothing to search for --kind {kind}: name something by --search")
    # What others depend on is drawn before them.
    parents = {parent for parent, _ in conditions.conditions_of(kind).values()}
    return dict(sorted(space.items(), key=lambda item: item[0] not in parents))


def is_used(kind: str, name: str, chosen: Mapping[str, Any]) -> bool:
    """Whether an option does anything beside those that are chosen, the others at their default."""
    given = {name: value for name, value in chosen.items() if value is not None}
    if draws_by_class(given):
        given = {**given, "sampler": "m-per-class"}
    return conditions.is_used(kind, name, {**defaults_of(kind), **given})


def draws_by_class(chosen: Mapping[str, Any]) -> bool:
    """Whether batches hold m rows of each of their classes, as they do for losses of pairs."""
    default = "m-per-class" if chosen.get("loss") in PAIR_LOSSES else "uniform"
    return (chosen.get("sampler") or default) == "m-per-class"


def defaults_of(kind: str) -> dict[str, Any]:
    """What each option is where it is not given."""
    return by_option(head_settings(kind, {}))


def by_option(settings: HeadSettings) -> dict[str, Any]:
    """The settings of a head by the names of their options."""
    return flattened({**asdict(settings.kind), **asdict(settings.training)})


def as_json(space: SearchSpace) -> dict[str, Any]:
    """As a YAML file would have it."""
    return {
        name: list(dimension.values)
        if isinstance(dimension, Choice)
        else {"low": dimension.low, "high": dimension.high, "log": dimension.log}
        for name, dimension in space.items()
    }


def parse_dimension(name: str, value: object) -> Dimension:
    """A range or a choice from LOW:HIGH[:log], from a,b,c, or from what YAML makes of them.

    Raises:
        SettingsError: it is something else; the message names the option.
    """
    if isinstance(value, Mapping) and {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        ends, is_log = (
            [_number(value["low"]), _number(value["high"])],
            bool(value.get("log", False)),
        )
    elif isinstance(value, str) and ":" in value:
        parts = value.split(":")
        ends, is_log = [_scalar(part) for part in parts[:2]], parts[2:] == ["log"]
        ends += parts[2:] if not is_log else []
    elif isinstance(value, list) and all(isinstance(v, Scalar) for v in value) and value:
        return Choice(tuple(map(_number, value)))
    elif isinstance(value, str) and value:
        return Choice(tuple(_scalar(part) for part in value.split(",")))
    else:
        ends, is_log = [], False
    if len(ends) != 2 or not all(isinstance(e, int | float) for e in ends):
        raise SettingsError(
            f"the search of {name} takes LOW:HIGH, LOW:HIGH:log or values a,b,c: found '{value}'"
        )
    return Range(ends[0], ends[1], is_log)


def _from_file(path: Path) -> dict[str, Dimension]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        message = " ".join(str(error).split())
        raise SettingsError(f"{path} can't be read as YAML: {message}") from error
    if not isinstance(content, dict) or not content:
        raise SettingsError(f"{path} should hold names of options and what to try of each")
    return {
        str(name).replace("-", "_"): parse_dimension(str(name), value)
        for name, value in content.items()
    }


def _entry(text: str) -> tuple[str, Dimension]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise SettingsError(
            f"--search-option takes NAME=LOW:HIGH[:log] or NAME=a,b,c: found '{text}'"
        )
    return name.replace("-", "_"), parse_dimension(name, value)


def _refuse_name(kind: str, name: str, fixed: Mapping[str, Any]) -> None:
    known = defaults_of(kind)
    if name not in known or name in NOT_SEARCHED:
        names = ", ".join(sorted(set(known) - NOT_SEARCHED))
        raise SettingsError(f"'{name}' can't be searched for --kind {kind}: there are {names}")
    if name in fixed:
        option = name.replace("_", "-")
        raise SettingsError(f"--{option} is given and searched as well: leave one of them out")


def _number(value: Any) -> Any:
    """YAML takes 1e-4 for text: only 1.0e-4 is a number to it."""
    return _scalar(value) if isinstance(value, str) else value


def _scalar(text: str) -> Scalar:
    known: dict[str, Scalar] = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
