"""Whether the weights of two heads mean the same, so that they can be averaged."""

from collections.abc import Callable
from typing import Any

from heads.attributes.vocabulary import Vocabulary
from heads.ensembles.members import Member, refuse_difference
from heads.info import HeadInfo

IN_TRAINING_ALONE = {"dropout", "input_dropout"}
BY_SHAPES = {"dim"}  # None and the number that it stands for are the same


def refuse_unlike(first: Member, other: Member) -> None:
    """Raise HeadError where the heads differ in kind, spaces, classes of attributes or network.

    A projection's classes have no part in its network, so they may differ.
    """
    for what, of in _OF_HEADS.items():
        refuse_difference(what, (first, of(first.info)), (other, of(other.info)))
    _refuse_other_spaces(first, other)
    if first.info.output == "attributes":
        _refuse_other_classes(first, other)
    _refuse_other_networks(first, other)


_OF_HEADS: dict[str, Callable[[HeadInfo], Any]] = {
    "kinds": lambda info: info.kind,
    "spaces": lambda info: ", ".join(space.name for space in info.spaces),
}


def _refuse_other_spaces(first: Member, other: Member) -> None:
    for one, two in zip(first.info.spaces, other.info.spaces, strict=True):
        for field in ("fingerprint", "dim", "weight"):
            what = f"{field} of space '{one.name}'"
            refuse_difference(what, (first, getattr(one, field)), (other, getattr(two, field)))


def _refuse_other_classes(first: Member, other: Member) -> None:
    one, two = (Vocabulary.from_json(m.info.vocabulary or {}) for m in (first, other))
    for what in ("category", "categories", "attributes"):
        refuse_difference(what, (first, getattr(one, what)), (other, getattr(two, what)))
    ours, theirs = _classes(one), _classes(two)
    for pair in sorted(ours.keys() | theirs.keys()):
        within = f" in '{pair[0]}'" if pair[0] else ""
        what = f"classes of {pair[1]}{within}"
        mine, others = ours.get(pair, set()), theirs.get(pair, set())
        refuse_difference(what, (first, _beside(mine, others)), (other, _beside(others, mine)))


def _classes(vocabulary: Vocabulary) -> dict[tuple[str, str], set[str]]:
    return {(pair.category, pair.attribute): set(pair.classes) for pair in vocabulary.pairs}


def _beside(classes: set[str], others: set[str]) -> str:
    """What there is beside the classes that both have."""
    return ", ".join(f"'{name}'" for name in sorted(classes - others)[:5]) or "no others"


def _refuse_other_networks(first: Member, other: Member) -> None:
    ours, theirs = first.info.settings, other.info.settings
    for name in sorted((ours.keys() | theirs.keys()) - IN_TRAINING_ALONE - BY_SHAPES):
        refuse_difference(name, (first, ours.get(name)), (other, theirs.get(name)))
    tensors = other.network.state_dict()
    for name, tensor in first.network.state_dict().items():
        shapes = tuple(tensor.shape), tuple(tensors[name].shape)
        refuse_difference(f"shape of {name}", (first, shapes[0]), (other, shapes[1]))
