"""Soups: the weights of several heads averaged into one head, as quick to apply as each of them.

Averages work where the heads have a start in common, or are otherwise in one basin: their paths in
training may differ, by seed, settings or data.

Every tensor of floating point is averaged: weights, what batch normalisation has seen (its running
mean and variance), the scale of an attribute head's features, its temperature. Integers, the number
of batches that batch normalisation has seen, are those of the first head with a share; they play a
part in training alone.

Source: Wortsman et al., Model soups (2022), https://arxiv.org/abs/2203.05482, algorithm 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from embed.errors import HeadError, SettingsError
from heads.ensembles.ensemble import Curve, Ensemble, write_ensemble
from heads.ensembles.likeness import refuse_unlike
from heads.ensembles.members import (
    Member,
    load_members,
    merged_info,
    merged_vocabulary,
    refuse_other_rows,
)
from heads.ensembles.weights import Weights
from heads.features import FeatureStores
from heads.info import HeadInfo
from heads.kinds import ATTRIBUTES, PROJECTION, build_network
from heads.run import HeadFiles
from heads.validation import Validation, open_validation, validation_digest

SoupKind = Literal["uniform", "greedy", "sweep"]
NUM_STEPS = 21

Evaluate = Callable[[Weights], dict[str, float]]


def soup_to_files(
    paths: Sequence[Path],
    output: Path,
    how: SoupKind = "uniform",
    *,
    stores: FeatureStores | None = None,
    num_steps: int = NUM_STEPS,
    force: bool = False,
) -> Ensemble:
    """`make_soup` of these files' heads: the head at `output`, its card, a sweep's curve.

    Raises:
        SettingsError: `output` is not named .safetensors; and what `make_soup` raises.
        OutputExistsError: one of the files exists and not `force`.
        HeadError: a file that is no head.
    """
    HeadFiles(output).refuse_existing(force=force)
    soup = make_soup(load_members(paths), how, stores, num_steps)
    write_ensemble(soup, output)
    return soup


def make_soup(
    members: Sequence[Member],
    how: SoupKind = "uniform",
    stores: FeatureStores | None = None,
    num_steps: int = NUM_STEPS,
) -> Ensemble:
    """One head with the averaged weights of several heads of its kind.

    - uniform: their mean. Projections of different data may be averaged, on whatever classes.
    - greedy: of the heads in order of their metric on the validation rows, each is kept if the mean
      gets no worse with it.
    - sweep: of two heads θ = w·B + (1 − w)·A, for `num_steps` values of w from 0 to 1; the one with
      the best metric is kept, the lowest w of equals.

    The validation rows are those of `stores` by the split, restrictions and targets that all heads
    have in common, the metric is that of training. Without `stores` a uniform soup has no metrics.

    Raises:
        HeadError: heads that differ in what can't be averaged, or in their validation rows.
        SettingsError: no stores where they are needed, or other than two heads in a sweep.
    """
    _refuse_unfit(members, how, stores, num_steps)
    for other in members[1:]:
        refuse_unlike(members[0], other)
    info = _soup_info(members)
    if stores is None:
        return _finished(members, how, _equal(range(len(members)), len(members)), info)
    refuse_other_rows(members)
    validation = open_validation(stores, info)
    evaluate = _evaluation(members, info, validation)
    scores = [evaluate(_equal([number], len(members))) for number in range(len(members))]
    weights, curve = _choose(how, scores, evaluate, validation.chosen_by, num_steps)
    soup = _finished(members, how, weights, info)
    reported = validation.report_of(validation.outputs(soup.network))
    digest = validation_digest(stores, info)
    details: dict[str, Any] = {**reported.details, "members": scores, "validation_rows": digest}
    if curve is not None:
        details["sweep"] = asdict(curve)
    info = replace(
        soup.info,
        num_validation=validation.table.num_rows,
        metrics=reported.metrics,
        intervals=reported.intervals,
        details=details,
    )
    return replace(soup, info=info, scores=tuple(scores), curve=curve)


def mean_weights(
    states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]
) -> dict[str, Tensor]:
    """Σ weight × tensor of each name, added up in float64; integers of the first with a share.

    States with a weight of 0 have no part in it, so that a weight of 1 gives a state as it is.
    """
    counted = [(w, state) for w, state in zip(weights, states, strict=True) if w]
    means = {}
    for name, tensor in counted[0][1].items():
        means[name] = tensor.clone()
        if tensor.is_floating_point():
            terms = [w * state[name].double() for w, state in counted]
            means[name] = reduce(torch.add, terms).to(tensor.dtype)
    return means


def _evaluation(members: Sequence[Member], info: HeadInfo, validation: Validation) -> Evaluate:
    """The metrics of a mean of the heads by its weights."""
    network = build_network(info).eval()
    states = [member.network.state_dict() for member in members]

    def evaluate(weights: Weights) -> dict[str, float]:
        network.load_state_dict(mean_weights(states, weights))
        return validation.metrics_of(validation.outputs(network))

    return evaluate


def _choose(
    how: SoupKind,
    scores: Sequence[Mapping[str, float]],
    evaluate: Evaluate,
    metric: str,
    num_steps: int,
) -> tuple[Weights, Curve | None]:
    def value_of(weights: Weights) -> float:
        return evaluate(weights)[metric]

    if how == "greedy":
        return _greedy([score[metric] for score in scores], value_of), None
    if how == "sweep":
        shares = tuple(step / (num_steps - 1) for step in range(num_steps))
        tried = list(zip(reversed(shares), shares, strict=True))
        curve = Curve(metric, shares, tuple(map(value_of, tried)))
        return tried[curve.best], curve
    return _equal(range(len(scores)), len(scores)), None


def _greedy(values: Sequence[float], value_of: Callable[[Weights], float]) -> Weights:
    """Equal weights of the heads that are kept; of equally good ones the first comes first."""
    first, *others = sorted(range(len(values)), key=lambda number: -values[number])
    kept, best = [first], values[first]
    for number in others:
        value = value_of(_equal([*kept, number], len(values)))
        if value >= best:
            kept, best = [*kept, number], value
    return _equal(kept, len(values))


def _equal(kept: Sequence[int], num_members: int) -> Weights:
    return tuple(1 / len(kept) if number in kept else 0.0 for number in range(num_members))


def _soup_info(members: Sequence[Member]) -> HeadInfo:
    if members[0].info.output == "vectors":
        return merged_info(members)
    return merged_info(members, vocabulary=asdict(merged_vocabulary(members)))


def _finished(
    members: Sequence[Member], how: SoupKind, weights: Weights, info: HeadInfo
) -> Ensemble:
    network = build_network(info).eval()
    network.load_state_dict(mean_weights([m.network.state_dict() for m in members], weights))
    fingerprints = [member.fingerprint for member in members]
    training = {"soup": how, "heads": fingerprints, "weights": weights}
    return Ensemble(replace(info, training=training), network, tuple(members), weights)


def _refuse_unfit(
    members: Sequence[Member], how: SoupKind, stores: FeatureStores | None, num_steps: int
) -> None:
    if how == "sweep" and len(members) != 2:
        raise SettingsError(
            f"a sweep is of two heads: found {len(members)}; take --how greedy for more"
        )
    if how != "uniform" and stores is None:
        raise SettingsError(
            f"a {how} soup is chosen on validation rows: give the store that they are in with "
            f"--store"
        )
    if num_steps < 2:
        raise SettingsError(f"--steps is at least 2, for both heads alone: found {num_steps}")
    for member in members:
        if member.info.kind not in (PROJECTION, ATTRIBUTES):
            raise HeadError(
                f"{member.name} is of kind '{member.info.kind}', whose weights can't be averaged: "
                f"expected {PROJECTION} or {ATTRIBUTES}; `python -m heads blend` takes any kind"
            )
