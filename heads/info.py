"""What a head says of itself, as the JSON in its file holds it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from embed.rows import Split
from heads.features import SpaceReference

Output = Literal["vectors", "attributes"]
# Of each field in a head's JSON, its type, and that of what it holds.
SHAPES: dict[str, tuple[Any, Any]] = {
    "kind": (str, object),
    "spaces": (list, dict),
    "targets": (list, str),
    "splits": (list, dict),
    "settings": (dict, object),
    "training": (dict, object),
    "num_train": (int, object),
    "num_validation": (int, object),
    "metrics": (dict, int | float),
    "classes": (list, str),
    "vocabulary": (dict | None, object),
    "where": (list, str),
    "intervals": (dict, list),
    "details": (dict, object),
    "members": (list, dict),
}


@dataclass(frozen=True)
class HeadInfo:
    """What a head keeps beside its weights.

    `classes` are the target's values that a projection was trained on; `vocabulary` is the JSON of
    an attribute head's categories, attributes and classes. `settings` rebuild the network,
    `training` is every other setting. `metrics` are those of the kept epoch on the validation rows,
    with their 95 % `intervals`; `details` is what else there is to tell of them. A blend has
    `members`, and the network of each.
    """

    kind: str
    spaces: tuple[SpaceReference, ...]
    targets: tuple[str, ...]
    splits: tuple[Split, ...]
    settings: Mapping[str, Any]
    training: Mapping[str, Any]
    num_train: int
    num_validation: int
    metrics: Mapping[str, float]
    classes: tuple[str, ...] = ()
    vocabulary: Mapping[str, Any] | None = None
    where: tuple[str, ...] = ()
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    members: tuple["HeadInfo", ...] = ()

    def __post_init__(self) -> None:
        # As the file gives them back: lists for tuples, so that equal heads are equal.
        for name in ("settings", "training", "vocabulary", "details"):
            object.__setattr__(self, name, json.loads(json.dumps(getattr(self, name))))

    @property
    def output(self) -> Output:
        """What the head makes of an item: a vector of a new space, or its attributes."""
        return "vectors" if self.vocabulary is None else "attributes"

    @property
    def num_features(self) -> int:
        """The size of all spaces that it takes in, side by side."""
        return sum(space.dim for space in self.spaces)

    @property
    def num_classes(self) -> int:
        """The classes of the target, or of all attributes together."""
        if self.vocabulary is None:
            return len(self.classes)
        return sum(len(pair["classes"]) for pair in self.vocabulary["pairs"])

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "HeadInfo":
        """From what JSON has made of `asdict(info)`: lists and mappings.

        Raises:
            KeyError, TypeError, ValueError: JSON of another shape; the message names the field.
        """
        for name, shape in SHAPES.items():
            _refuse_other_shape(name, fields[name], shape)
        intervals = fields["intervals"].items()
        read = {
            "spaces": tuple(SpaceReference(**space) for space in fields["spaces"]),
            "splits": tuple(Split(**split) for split in fields["splits"]),
            "targets": tuple(fields["targets"]),
            "classes": tuple(fields["classes"]),
            "where": tuple(fields["where"]),
            "intervals": {name: (low, high) for name, (low, high) in intervals},
            "members": tuple(cls.from_json(member) for member in fields["members"]),
        }
        return cls(**{**fields, **read})


def _refuse_other_shape(name: str, value: Any, shape: tuple[Any, Any]) -> None:
    whole, part = shape
    if not isinstance(value, whole):
        raise TypeError(f"its '{name}' is {json.dumps(value)[:60]}")
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for found in parts:
        if not isinstance(found, part):
            raise TypeError(f"its '{name}' holds {json.dumps(found)[:60]}")


def flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names of their options, on one level whatever part they belong to."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flattened(value) if isinstance(value, Mapping) else {name: value}
    return flat
