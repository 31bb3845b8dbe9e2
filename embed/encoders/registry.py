"""From specs to loaded encoders. Each library is imported only when a spec asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embed.encoders.base import FittedTextEncoder, ImageEncoder, TextEncoder
from embed.encoders.specs import EncoderSpec

if TYPE_CHECKING:
    from embed.encoders.runtime import Runtime


@dataclass(frozen=True)
class Encoders:
    """The loaded encoders of a run."""

    image: tuple[ImageEncoder, ...]
    text: tuple[TextEncoder, ...]
    fitted: tuple[FittedTextEncoder, ...]

    @property
    def per_item(self) -> tuple[ImageEncoder | TextEncoder, ...]:
        """Those that encode items one by one, as rows come in."""
        return (*self.image, *self.text)


def load_encoders(
    specs: Sequence[EncoderSpec], device: str = "auto", precision: str = "auto"
) -> Encoders:
    """Load every encoder that the specs name.

    Raises:
        EncoderError: a spec that names nothing, weights that can't be had or do not fit.
        SettingsError: a device or precision that this machine lacks.
    """
    encoders = [_load(spec, device, precision) for spec in specs]
    return Encoders(
        tuple(encoder for encoder in encoders if isinstance(encoder, ImageEncoder)),
        tuple(encoder for encoder in encoders if isinstance(encoder, TextEncoder)),
        tuple(encoder for encoder in encoders if isinstance(encoder, FittedTextEncoder)),
    )


def _load(
    spec: EncoderSpec, device: str, precision: str
) -> ImageEncoder | TextEncoder | FittedTextEncoder:
    if spec.family == "classic":
        from embed.encoders import classic

        return classic.load(spec)
    if spec.family == "tfidf":
        from embed.encoders.tfidf import TfIdf

        return TfIdf(spec)
    from embed.encoders.runtime import Runtime

    return _load_torch(spec, Runtime.choose(device, precision))


def _load_torch(spec: EncoderSpec, runtime: "Runtime") -> ImageEncoder | TextEncoder:
    is_image = spec.modality == "image"
    if spec.family == "timm":
        from embed.encoders import timm

        return timm.load(spec, runtime)
    if spec.family == "open_clip":
        from embed.encoders import open_clip

        return (open_clip.load_image if is_image else open_clip.load_text)(spec, runtime)
    from embed.encoders import transformers

    return (transformers.load_image if is_image else transformers.load_text)(spec, runtime)
