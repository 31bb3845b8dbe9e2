"""Blends of blends: the members of each take its place."""

from collections.abc import Sequence

from embed.errors import HeadError
from heads.ensembles.members import Member, refuse_repeated
from heads.ensembles.networks import AttributeBlend, Blending, VectorBlend
from heads.ensembles.weights import Weights
from heads.kinds import BLEND


def members_of_blends(
    members: Sequence[Member], weights: Weights, how: Blending
) -> tuple[tuple[Member, ...], Weights]:
    """Each blend's members in its place, with their shares of its weight; other heads as they are.

    Raises:
        SettingsError: a head that is there twice then.
        HeadError: a blend that puts its members together in another way.
    """
    flat: list[Member] = []
    shares: list[float] = []
    for member, weight in zip(members, weights, strict=True):
        inner = _inner(member, how)
        flat += [of for of, _ in inner]
        shares += [weight * share for _, share in inner]
    refuse_repeated(flat)
    return tuple(flat), tuple(shares)


def _inner(member: Member, how: Blending) -> list[tuple[Member, float]]:
    if member.info.kind != BLEND:
        return [(member, 1.0)]
    settings = member.info.settings
    if settings["how"] != how:
        raise HeadError(
            f"{member.name} is a blend by {settings['how']}, so it can't be a part of one by "
            f"{how}: name its members instead"
        )
    blend = member.network
    assert isinstance(blend, AttributeBlend | VectorBlend)
    parts = zip(
        member.info.training["heads"],
        member.info.members,
        blend.networks(),
        settings["weights"],
        strict=True,
    )
    return [
        (
            # What each of them has seen by itself the blend doesn't keep.
            Member(f"{member.name}[{number}]", fingerprint, info, network, member.seen_ids),
            float(share),
        )
        for number, (fingerprint, info, network, share) in enumerate(parts)
    ]
