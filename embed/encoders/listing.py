"""The encoders that there are to choose from, and whether their weights are here.

Nothing is loaded and nothing is fetched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from embed.encoders.cached import CachedModel, cached_models, is_cached, is_downloaded
from embed.encoders.published import PublishedModel, published_models
from embed.encoders.specs import DEFAULT_IMAGE_SPECS
from embed.errors import SpecError
from embed.store import Modality

# Of some two hundred: the defaults, then models that are small, strong, or of another family.
SHOWN = (
    *(spec.removeprefix("open_clip:") for spec in DEFAULT_IMAGE_SPECS),
    "ViT-B-32/laion2b_s34b_b79k",
    "ViT-B-16/datacomp_xl_s13b_b90k",
    "ViT-L-14/datacomp_xl_s13b_b90k",
    "ViT-H-14-quickgelu/dfn5b",
    "convnext_xxlarge/laion2b_s34b_b82k_augreg_soup",
    "ViT-B-16-SigLIP/webli",
    "ViT-SO400M-14-SigLIP-384/webli",
    "MobileCLIP2-S0/dfndr2b",
)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")

Weights = Literal["here", "to fetch", "none needed"]


@dataclass(frozen=True)
class ListedEncoder:
    """A spec and what it gives; None where that is not known before it is loaded or fitted."""

    spec: str
    modalities: tuple[Modality, ...]
    dim: int | None
    pixels: tuple[int, int] | None
    tokens: int | None
    weights: Weights

    @property
    def is_default(self) -> bool:
        """Whether a run takes it where no encoder is named."""
        return self.spec in DEFAULT_IMAGE_SPECS


def list_encoders(search: str = "", *, everything: bool = False) -> list[ListedEncoder]:
    """Encoders by family: OpenCLIP's published ones, those in the hub's cache, those without any.

    With `search`, every one whose spec holds that text, in whatever case. Without it, and unless
    `everything` is asked for, of OpenCLIP's those that are here or in a short list.

    Raises:
        SpecError: no spec holds that text.
    """
    found = [
        encoder
        for encoder in _all_encoders()
        if (search.lower() in encoder.spec.lower() if search else everything or _is_shown(encoder))
    ]
    if not found:
        raise SpecError(
            f"no encoder's spec holds '{search}': python -m embed encoders --all lists them all; "
            f"a model of your own is timm:ARCH@FILE, open_clip:ARCH@FILE or transformers:FOLDER"
        )
    return sorted(found, key=_rank)


def describe(encoder: ListedEncoder) -> dict[str, Any]:
    """The encoder as JSON shows it."""
    return {
        "spec": encoder.spec,
        "modalities": list(encoder.modalities),
        "dim": encoder.dim,
        "input": {
            "pixels": encoder.pixels and list(encoder.pixels),
            "tokens": encoder.tokens,
        },
        "weights": encoder.weights,
        "default": encoder.is_default,
    }


def _rank(encoder: ListedEncoder) -> int:
    """The defaults first, in their own order."""
    order = [*DEFAULT_IMAGE_SPECS, encoder.spec]
    return order.index(encoder.spec)


def _is_shown(encoder: ListedEncoder) -> bool:
    return encoder.weights != "to fetch" or encoder.spec.removeprefix("open_clip:") in SHOWN


def _all_encoders() -> Iterator[ListedEncoder]:
    cached = list(cached_models())
    for model in published_models():
        yield _published(model, cached)
    for snapshot in cached:
        if snapshot.has_weights:
            yield from _of_timm(snapshot)
            yield from _of_transformers(snapshot)
    yield ListedEncoder("classic:color-hog", ("image",), 2020, (128, 128), None, "none needed")
    yield ListedEncoder("classic:phash", ("image",), 64, (32, 32), None, "none needed")
    yield ListedEncoder("tfidf", ("text",), None, None, None, "none needed")


def _published(model: PublishedModel, cached: Sequence[CachedModel]) -> ListedEncoder:
    if model.repository:
        is_here = is_cached(cached, model.repository, model.weights_files)
    else:
        is_here = is_downloaded(model.url)
    return ListedEncoder(
        f"open_clip:{model.arch}/{model.tag}",
        ("image", "text"),
        model.dim,
        model.pixels,
        model.tokens,
        "here" if is_here else "to fetch",
    )


def _of_timm(snapshot: CachedModel) -> Iterator[ListedEncoder]:
    config = snapshot.config
    if "architecture" not in config or "model_type" in config:
        return
    settings = config.get("pretrained_cfg", {})
    tag = f".{settings['tag']}" if settings.get("tag") else ""
    size = settings.get("input_size")
    pixels = (size[1], size[2]) if size else None
    spec = f"timm:{config['architecture']}{tag}"
    yield ListedEncoder(spec, ("image",), config.get("num_features"), pixels, None, "here")


def _of_transformers(snapshot: CachedModel) -> Iterator[ListedEncoder]:
    config = snapshot.config
    if "model_type" not in config:
        return
    vision, text = config.get("vision_config"), config.get("text_config")
    modalities: tuple[Modality, ...] = ("image", "text")
    if not (vision and text):
        is_image = snapshot.has("preprocessor_config.json")
        modalities = ("image",) if is_image else ("text",)
        if not is_image and not snapshot.has(*TOKENIZER_FILES):
            return
    dim = config.get("projection_dim") or config.get("hidden_size")
    yield ListedEncoder(
        f"transformers:{snapshot.repository}",
        modalities,
        dim,
        _pixels(vision or config) if "image" in modalities else None,
        (text or config).get("max_position_embeddings") if "text" in modalities else None,
        "here",
    )


def _pixels(config: Mapping[str, Any]) -> tuple[int, int] | None:
    size = config.get("image_size")
    if isinstance(size, int):
        return size, size
    return (size[0], size[1]) if isinstance(size, list) else None
