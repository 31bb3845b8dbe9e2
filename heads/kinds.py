"""From what a head says of itself to its network, still without its weights."""

from torch import nn

from heads.attributes.network import AttributeNetwork, AttributeSettings
from heads.attributes.vocabulary import Vocabulary
from heads.ensembles.networks import build_blend
from heads.info import HeadInfo
from heads.projection.bodies import BodySettings, make_body

PROJECTION, ATTRIBUTES, BLEND = "projection", "attributes", "blend"


def build_network(info: HeadInfo) -> nn.Module:
    """A network of this shape, its weights at random.

    Raises:
        ValueError: there is no such kind.
    """
    if info.kind == PROJECTION:
        settings = {**info.settings, "dropout": tuple(info.settings["dropout"])}
        return make_body(info.num_features, BodySettings(**settings))
    if info.kind == ATTRIBUTES:
        vocabulary = Vocabulary.from_json(info.vocabulary or {})
        return AttributeNetwork(
            info.num_features, vocabulary.num_classes(), AttributeSettings(**info.settings)
        )
    if info.kind == BLEND:
        return build_blend(info, [build_network(member) for member in info.members])
    raise ValueError(f"there is no head of kind '{info.kind}'")
