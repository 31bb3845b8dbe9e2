"""A head as an ONNX file, for programs without this one: vectors of its spaces in, results out.

Each space is an input of its own, named after it: vectors (n, d) of any length as float32, a
binary space as −1 and 1, a sparse one filled up with zeros. Scaling them to unit length and by
their weights is part of the graph. A projection's output is `vectors` (n, e). A head of attributes
has an output `ATTRIBUTE_probabilities` (n, k) for each of them, over the classes that the metadata
names for the item's category, 0 beyond those; where it goes by category, `categories` (n,) is an
input as well: int64, the place of the category in the metadata's list, −1 for any other.

The graph computes the classifiers of every category for each item and takes those of its own: with
c categories it takes c times the products that `heads predict` takes.
"""

import json
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from embed.errors import HeadError, SettingsError
from embed.files import refuse_existing, replacing
from heads.attributes.baselines import Majority
from heads.attributes.network import AttributeNetwork
from heads.attributes.vocabulary import Vocabulary
from heads.ensembles.networks import VectorBlend
from heads.features import SpaceReference
from heads.head import Head, load_head
from heads.projection.bodies import Body

if TYPE_CHECKING:
    import onnx

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
CATEGORIES = "categories"
CHECKED_BATCHES = (1, 2, 17)
TOLERANCE = 1e-5
MAX_BYTES = 2**31 - 2**20
"""A file of the format holds 2 GiB; the rest of the graph is small."""


@dataclass(frozen=True)
class Exported:
    """The file that was written, its inputs and outputs, and how far it was from torch at most."""

    output: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    num_bytes: int
    largest_difference: float


def export_onnx(
    head_path: Path,
    output: Path,
    *,
    force: bool = False,
    on_step: Callable[[str], None] = lambda what: None,
) -> Exported:
    """Write a head as ONNX, after comparing it with torch on random inputs of several sizes.

    `on_step` is told what comes next, before it begins.

    The metadata's `embedding-head` is JSON: all that the head says of itself, `inputs`, `outputs`,
    and for attributes `categories` and `classes` by category and attribute.

    Raises:
        HeadError: the head can't be read; its kind can't be exported; results differ from torch's
            by more than 1e-5; nothing is written then.
        OutputExistsError: `output` is there and not `force`.
        SettingsError: onnx, onnxscript or onnxruntime is not installed.
    """
    refuse_existing(output, force=force)
    _refuse_missing_packages()
    head = load_head(head_path)
    graph = _graph(head)
    _refuse_unfit(head_path, graph)
    on_step("translating the network, which takes up to a minute")
    model = _exported(graph)
    for key, value in _metadata(head, graph).items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    on_step("comparing its results with the head's own")
    difference = _largest_difference(content, graph)
    if not difference <= TOLERANCE:
        raise HeadError(
            f"{head_path} as ONNX gives results that differ from torch's by {difference:.1e}, more "
            f"than {TOLERANCE:.0e}: nothing is written"
        )
    with replacing(output) as temporary:
        temporary.write_bytes(content)
    return Exported(output, graph.inputs, graph.outputs, len(content), difference)


class _Graph(nn.Module, ABC):
    """What is exported: the tensors of `inputs` to those of `outputs`, in this order."""

    def __init__(self, spaces: tuple[SpaceReference, ...]) -> None:
        super().__init__()
        self.spaces = spaces

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what goes in."""
        return tuple(space.name for space in self.spaces)

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """The names of what comes out."""

    def features(self, vectors: tuple[Tensor, ...]) -> Float[Tensor, "n d"]:
        """Spaces side by side, each scaled to the length of its weight; zeros stay zeros."""
        scaled = [
            nn.functional.normalize(vectors_of) * space.weight
            for vectors_of, space in zip(vectors, self.spaces, strict=True)
        ]
        return torch.cat(scaled, dim=1)

    def random_inputs(self, num_rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Vectors of all lengths."""
        return tuple(
            torch.randn(num_rows, space.dim, generator=generator) * 3 for space in self.spaces
        )


class _Projection(_Graph):
    outputs = ("vectors",)

    def __init__(self, spaces: tuple[SpaceReference, ...], body: Body | VectorBlend) -> None:
        super().__init__(spaces)
        self.body = body

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Vectors of unit length."""
        return (self.body(self.features(inputs)),)


class _Attributes(_Graph):
    """The classifiers of all categories, of which each row takes its own."""

    def __init__(
        self, spaces: tuple[SpaceReference, ...], vocabulary: Vocabulary, network: nn.Module
    ) -> None:
        super().__init__(spaces)
        self.vocabulary = vocabulary
        self.network = network
        self.sizes = vocabulary.num_classes().max(axis=0).tolist()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The spaces, and the category where there are several."""
        return (*super().inputs, *([] if self.vocabulary.category is None else [CATEGORIES]))

    @property
    def outputs(self) -> tuple[str, ...]:
        """One for each attribute."""
        return tuple(f"{name}_probabilities" for name in self.vocabulary.attributes)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Probabilities of each attribute's classes, 0 where there are none."""
        logits = self.all_logits(self.features(inputs[: len(self.spaces)]))
        if self.vocabulary.category is None:
            own = logits[:, 0]
        else:
            own = _of_own_category(logits, inputs[-1])
        return tuple(
            _probabilities(own[:, attribute, :size]) for attribute, size in enumerate(self.sizes)
        )

    def all_logits(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c a k"]:
        """As the network's, of every category."""
        network = self.network
        if isinstance(network, Majority):
            return network.log_shares.expand(features.shape[0], -1, -1, -1)
        assert isinstance(network, AttributeNetwork)
        return network.of_all_categories(features)

    def random_inputs(self, num_rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Categories that there are, and none."""
        vectors = super().random_inputs(num_rows, generator)
        if self.vocabulary.category is None:
            return vectors
        num_categories = len(self.vocabulary.categories)
        return (*vectors, torch.randint(-1, num_categories, (num_rows,), generator=generator))


def _of_own_category(
    logits: Float[Tensor, "n c a k"], categories: Int[Tensor, " n"]
) -> Float[Tensor, "n a k"]:
    places = categories.clamp(min=0)[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    own = logits.gather(1, places)[:, 0]
    return own.masked_fill((categories < 0)[:, None, None], -math.inf)


def _probabilities(logits: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    possible = torch.isfinite(logits).any(dim=1, keepdim=True)
    return torch.softmax(torch.where(possible, logits, 0.0), dim=1) * possible


def _graph(head: Head) -> _Graph:
    info, network = head.info, head.network
    if isinstance(network, Body | VectorBlend):
        return _Projection(info.spaces, network).eval()
    if isinstance(network, AttributeNetwork | Majority):
        vocabulary = Vocabulary.from_json(info.vocabulary or {})
        return _Attributes(info.spaces, vocabulary, network).eval()
    raise HeadError(
        f"a head of kind '{info.kind}' that makes {info.output} can't be exported: projections, "
        f"blends of them, attributes, baseline:logistic and baseline:majority can"
    )


def _refuse_missing_packages() -> None:
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"heads export needs {', '.join(missing)}: pip install {' '.join(missing)}"
        )


def _refuse_unfit(head_path: Path, graph: _Graph) -> None:
    names = [*graph.inputs, *graph.outputs]
    repeated = [name for name in graph.inputs if names.count(name) > 1]
    if repeated:
        raise HeadError(
            f"{head_path} has an input and another input or output of the name '{repeated[0]}', "
            f"which a file of ONNX can't: name the space otherwise, and train again"
        )
    num_bytes = sum(tensor.nbytes for tensor in graph.state_dict().values())
    if num_bytes > MAX_BYTES:
        raise HeadError(
            f"{head_path} has weights of {num_bytes / 2**30:.1f} GiB: a file of ONNX holds 2 GiB"
        )


def _exported(graph: _Graph) -> "onnx.ModelProto":
    rows = torch.export.Dim("n")
    example = graph.random_inputs(2, torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        # All inputs have the same rows, and the exporter says so of every input but the first.
        warnings.filterwarnings("ignore", message=r"# The axis name: n will not be used")
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=(tuple({0: rows} for _ in example),),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _metadata(head: Head, graph: _Graph) -> dict[str, str]:
    content: dict[str, Any] = {
        **asdict(head.info),
        "fingerprint": head.fingerprint,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
    }
    if isinstance(graph, _Attributes):
        classes: dict[str, dict[str, list[str]]] = {}
        for pair in graph.vocabulary.pairs:
            classes.setdefault(pair.category, {})[pair.attribute] = list(pair.classes)
        content["categories"], content["classes"] = graph.vocabulary.categories, classes
    return {"embedding-head": json.dumps(content, ensure_ascii=False)}


@torch.no_grad()
def _largest_difference(content: bytes, graph: _Graph) -> float:
    """Between torch and onnxruntime, of any number; infinite where either is NaN."""
    from onnxruntime import InferenceSession

    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    largest = 0.0
    for num_rows in CHECKED_BATCHES:
        inputs = graph.random_inputs(num_rows, generator)
        fed = {name: tensor.numpy() for name, tensor in zip(graph.inputs, inputs, strict=True)}
        for expected, found in zip(graph(inputs), session.run(None, fed), strict=True):
            difference = float(np.abs(expected.numpy() - found).max(initial=0))
            largest = max(largest, difference if math.isfinite(difference) else math.inf)
    return largest
