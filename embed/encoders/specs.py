"""Encoder specs: `[NAME=]FAMILY:MODEL[/TAG][@WEIGHTS_FILE][,option=value…]`."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embed.errors import SpecError
from embed.store import Modality

FAMILIES: Mapping[Modality, tuple[str, ...]] = {
    "image": ("open_clip", "transformers", "timm", "classic"),
    "text": ("open_clip", "transformers", "tfidf"),
}
WITH_WEIGHTS = ("open_clip", "timm")
FITTED = ("tfidf",)
DEFAULT_IMAGE_SPECS = (
    "open_clip:ViT-H-14/laion2b_s32b_b79k",
    "open_clip:ViT-L-14-336/openai",
)
WITHOUT_WEIGHTS = "classic:color-hog, classic:phash (images) and tfidf (titles) need no weights"


@dataclass(frozen=True)
class EncoderSpec:
    """A spec, read. `text` is the spec as given, without its name."""

    name: str
    modality: Modality
    family: str
    text: str
    model: str = ""
    weights: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_fitted(self) -> bool:
        """Whether the encoder learns from the whole catalogue, at the sealing of a store."""
        return self.family in FITTED

    @property
    def folder(self) -> Path | None:
        """The folder that the model part names, `~` read as the home folder; None if it is none."""
        path = Path(self.model).expanduser()
        return path if self.model and path.is_dir() else None

    @classmethod
    def parse(cls, given: str, modality: Modality) -> "EncoderSpec":
        """Read `[NAME=]SPEC`; without a name, the space is named after the model.

        Raises:
            SpecError: a name that can't name a space, an unknown family, an option without a
                value, or a part that the family does not take.
        """
        named = re.fullmatch(r"([^:=]*)=(.+)", given)
        text = named[2] if named else given
        if named:
            _require_name(named[1], given)
        family, _, rest = text.partition(":")
        if family not in FAMILIES[modality]:
            raise SpecError(
                f"encoder '{given}': '{family}' is not a family of {modality} encoders: "
                f"they are {', '.join(FAMILIES[modality])}"
            )
        target, options = _split_options(rest, given)
        model, weights = _split_weights(target, family, given)
        name = named[1] if named else _name_of(model or family)
        return cls(name, modality, family, text, model, weights, options)

    def check_options(self, known: Collection[str]) -> None:
        """Raise SpecError at an option that the family does not have."""
        for option in self.options:
            if option not in known:
                raise SpecError(
                    f"encoder '{self.text}' has no option '{option}': "
                    f"{self.family} takes {', '.join(known) or 'none'}"
                )


def parse_specs(image: Sequence[str], text: Sequence[str]) -> list[EncoderSpec]:
    """All the specs of a run, image encoders first.

    Raises:
        SpecError: a spec that can't be understood, or two spaces of the same name.
    """
    specs = [EncoderSpec.parse(spec, "image") for spec in image]
    specs += [EncoderSpec.parse(spec, "text") for spec in text]
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(
                f"two encoders are named '{name}': name them apart, as in other={name}…"
            )
    return specs


def _require_name(name: str, given: str) -> None:
    if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):
        raise SpecError(
            f"encoder '{given}': a space's name holds letters, digits, '_', '-' and '.', and not "
            f"dots alone: found '{name}'"
        )


def _split_weights(target: str, family: str, given: str) -> tuple[str, Path | None]:
    """The model, and its weights file where the family takes one. A folder may contain '@'."""
    if family == "tfidf" and target:
        raise SpecError(
            f"encoder '{given}': tfidf has no models, found '{target}': "
            f"options are written tfidf:analyzer=char_wb,ngrams=2-4"
        )
    if family == "classic" and "@" in target:
        raise SpecError(
            f"encoder '{given}': classic descriptors need no weights: "
            f"write classic:{target.partition('@')[0]}"
        )
    if family not in WITH_WEIGHTS:
        return target, None
    model, _, weights = target.partition("@")
    return model, Path(weights).expanduser() if weights else None


def _split_options(rest: str, given: str) -> tuple[str, dict[str, str]]:
    """The model, and the options behind it. A comma inside a path is kept."""
    pieces = rest.split(",")
    options: dict[str, str] = {}
    while pieces and re.fullmatch(r"[a-z_]+=[^/]*", pieces[-1]):
        key, _, value = pieces.pop().partition("=")
        if not value:
            raise SpecError(f"encoder '{given}': option '{key}' has no value")
        options[key] = value
    return ",".join(pieces), dict(reversed(options.items()))


def _name_of(model: str) -> str:
    is_path = model.startswith((".", "/", "~")) or Path(model).exists()
    text = Path(model).name if is_path else model
    return re.sub(r"[^\w.-]+", "_", text).strip("_.") or "space"
