"""From options by name, as a command line or a search gives them, to the settings of a head.

An option that is not given takes the default of the head's kind; one that the kind has no use for
is refused, so that nobody believes that it did something.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from embed.errors import SettingsError
from heads.attributes.baseline_learning import BaselineSettings
from heads.attributes.baselines import MajoritySettings, NeighbourSettings
from heads.attributes.logistic import LogisticSettings
from heads.attributes.network import AttributeSettings
from heads.attributes.settings import AttributeHeadSettings
from heads.kinds import ATTRIBUTES, LOGISTIC, MAJORITY, NEIGHBOURS, PROJECTION
from heads.projection.bodies import BodySettings
from heads.projection.loss_settings import LossSettings
from heads.projection.settings import ProjectionSettings
from heads.training.augmentation import AugmentationSettings
from heads.training.optimisation import OptimisationSettings
from heads.training.sampling import SamplingSettings
from heads.training.settings import TrainingSettings

KindSettings = ProjectionSettings | AttributeHeadSettings | BaselineSettings
TRAINING = (SamplingSettings, OptimisationSettings, AugmentationSettings, TrainingSettings)
PARTS: dict[str, tuple[type[Any], ...]] = {
    PROJECTION: (BodySettings, LossSettings, ProjectionSettings, *TRAINING),
    ATTRIBUTES: (AttributeSettings, AttributeHeadSettings, *TRAINING),
    MAJORITY: (MajoritySettings,),
    NEIGHBOURS: (NeighbourSettings,),
    LOGISTIC: (LogisticSettings,),
}
OF_EVERY_KIND = {"device", "memory_bytes"}
NO_OPTIONS = {"body_settings", "network", "sampling", "optimisation", "augmentation"}
PAIR_LOSSES = ("supcon", "circle", "triplet")
ATTRIBUTE_DEFAULTS: dict[str, Any] = {
    "epochs": 40,
    "keep": "last",
    "learning_rate": 2e-3,
}
"""Where attribute heads are trained otherwise than projections, unless something is given."""


@dataclass(frozen=True)
class HeadSettings:
    """What kind of head, and how it is trained."""

    kind: KindSettings
    training: TrainingSettings


def head_settings(kind: str, options: Mapping[str, Any]) -> HeadSettings:
    """The settings of a head; options that are None are not given.

    Raises:
        SettingsError: a value out of its range, or an option that this kind has no use for.
    """
    given = {name: value for name, value in options.items() if value is not None}
    _refuse_useless(kind, given)
    make = {PROJECTION: _projection, ATTRIBUTES: _attributes}
    return make[kind](given) if kind in make else _baseline(kind, given)


def _projection(given: Mapping[str, Any]) -> HeadSettings:
    body, loss = _settings(BodySettings, given), _settings(LossSettings, given)
    if loss.loss in PAIR_LOSSES:
        given = {"sampler": "m-per-class", **given}
    settings = ProjectionSettings(body, loss, **_those_of(given, "start"))
    return HeadSettings(settings, _training(given))


def _attributes(given: Mapping[str, Any]) -> HeadSettings:
    if isinstance(given.get("dropout"), tuple):
        given = {**given, "dropout": _only_rate(given["dropout"])}
    network = _settings(AttributeSettings, given)
    own = [field.name for field in fields(AttributeHeadSettings) if field.name != "network"]
    return HeadSettings(
        AttributeHeadSettings(network, **_those_of(given, *own)),
        _training({**ATTRIBUTE_DEFAULTS, **given}),
    )


def _baseline(kind: str, given: Mapping[str, Any]) -> HeadSettings:
    (part,) = PARTS[kind]
    return HeadSettings(_settings(part, given), _training(_those_of(given, *OF_EVERY_KIND)))


def _only_rate(rates: tuple[float, ...]) -> float:
    if len(rates) != 1:
        raise SettingsError(
            f"--dropout takes one rate for attributes: found {', '.join(map(str, rates))}"
        )
    return rates[0]


def _training(given: Mapping[str, Any]) -> TrainingSettings:
    own = {field.name for field in fields(TrainingSettings)}
    return TrainingSettings(
        sampling=_settings(SamplingSettings, given),
        optimisation=_settings(OptimisationSettings, given),
        augmentation=_settings(AugmentationSettings, given),
        **_those_of(given, *own),
    )


def _refuse_useless(kind: str, given: Mapping[str, Any]) -> None:
    known = _names_for(kind)
    for name in given:
        if name not in known:
            option = name.replace("_", "-")
            raise SettingsError(f"--{option} is not for --kind {kind}: leave it out")


def _names_for(kind: str) -> set[str]:
    of_kind = {field.name for part in PARTS[kind] for field in fields(part)}
    return (of_kind | OF_EVERY_KIND) - NO_OPTIONS


def _settings(part: type[Any], given: Mapping[str, Any]) -> Any:
    return part(**_those_of(given, *(field.name for field in fields(part))))


def _those_of(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}
