"""From what a head says of itself to its network, still without its weights."""

from torch import nn

from heads.attributes.baselines import Majority, NearestNeighbours, NeighbourSettings
from heads.attributes.network import AttributeNetwork, AttributeSettings
from heads.attributes.vocabulary import Vocabulary
from heads.ensembles.networks import build_blend
from heads.info import HeadInfo
from heads.projection.bodies import BodySettings, make_body

PROJECTION, ATTRIBUTES, BLEND = "projection", "attributes", "blend"
MAJORITY, NEIGHBOURS, LOGISTIC = "baseline:majority", "baseline:knn", "baseline:logistic"


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
    if info.kind.startswith("baseline:"):
        return _baseline(info)
    if info.kind == BLEND:
        return build_blend(info, [build_network(member) for member in info.members])
    raise ValueError(f"there is no head of kind '{info.kind}'")


def _baseline(info: HeadInfo) -> nn.Module:
    num_classes = Vocabulary.from_json(info.vocabulary or {}).num_classes()
    if info.kind == MAJORITY:
        return Majority(num_classes)
    if info.kind == NEIGHBOURS:
        settings = NeighbourSettings(**info.settings)
        return NearestNeighbours(info.num_train, info.num_features, num_classes, settings)
    if info.kind == LOGISTIC:
        return AttributeNetwork(info.num_features, num_classes, AttributeSettings(hidden=0))
    raise ValueError(f"there is no baseline '{info.kind}'")
