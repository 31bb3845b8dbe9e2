"""What the products of the demonstration catalogue are, before anything is drawn or worded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

# How many products share one design and differ in one visible thing each: the hard distractors.
FAMILY_SIZE = 4
# Sets the families' random numbers apart from those of photos and titles under the same seed.
FAMILY_STREAM = 1

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (196, 44, 48),
    "orange": (232, 130, 44),
    "yellow": (240, 200, 70),
    "green": (66, 138, 82),
    "teal": (38, 140, 146),
    "blue": (58, 112, 190),
    "navy": (38, 52, 96),
    "purple": (122, 78, 158),
    "pink": (232, 142, 168),
    "brown": (128, 84, 56),
    "beige": (216, 194, 160),
    "grey": (134, 140, 148),
    "black": (46, 46, 52),
    "white": (238, 236, 230),
}
MIN_CONTRAST = 110  # the differences of red, green and blue added up, each 0 to 255
PATTERNS = ("plain", "stripes", "pinstripes", "dots", "checks", "zigzag")
BRANDS = ("Halden", "Mirava", "Oakly & Roe", "Tindra", "Corvia", "Plumero", "Essway", "Nuvelo")
MODELS = (
    "Alba", "Bruno", "Cleo", "Dover", "Elio", "Fjord", "Gala", "Hugo",
    "Iris", "Juno", "Kobe", "Luna", "Milo", "Nola", "Otis", "Perla",
)  # fmt: skip


@dataclass(frozen=True)
class Category:
    """A kind of product: the parts it has, with their options, and which of them are recorded.

    `recorded` names, for attr_1 to attr_3, the part whose option is the attribute; "" leaves the
    attribute empty, because the category has nothing that belongs there.
    """

    name: str
    parts: dict[str, tuple[str, ...]]
    recorded: tuple[str, str, str]
    sizes: tuple[str, ...]
    finishes: tuple[str, ...]


CATEGORIES = (
    Category(
        "mug",
        {"handle": ("round", "square", "ear"), "body": ("straight", "tapered", "belly")},
        ("handle", "pattern", "colour"),
        ("250ml", "300ml", "350ml"),
        ("ceramic", "enamel", "stoneware"),
    ),
    Category(
        "t-shirt",
        {"neck": ("round", "v-neck", "polo"), "sleeve": ("short", "long", "sleeveless")},
        ("neck", "sleeve", "pattern"),
        ("S", "M", "L", "XL"),
        ("cotton", "linen", "jersey"),
    ),
    Category(
        "shoe",
        {"cut": ("low-top", "high-top", "slip-on"), "sole": ("white", "gum", "black")},
        ("cut", "sole", "colour"),
        ("38", "40", "42", "44"),
        ("canvas", "leather", "suede"),
    ),
    Category(
        "bag",
        {"style": ("tote", "satchel", "backpack"), "pocket": ("pocket", "no-pocket")},
        ("style", "pocket", "pattern"),
        ("small", "medium", "large"),
        ("canvas", "leather", "nylon"),
    ),
    Category(
        "lamp",
        {"shade": ("cone", "dome", "drum"), "base": ("stem", "jug", "tripod")},
        ("shade", "base", ""),
        ("E14", "E27"),
        ("linen", "steel", "oak"),
    ),
    Category(
        "bottle",
        {"cap": ("screw", "loop", "cork"), "body": ("slim", "wide", "flask")},
        ("cap", "", "colour"),
        ("0.5L", "750ml", "1L"),
        ("steel", "glass", "aluminium"),
    ),
    Category(
        "cushion",
        {"outline": ("square", "oblong", "bolster"), "trim": ("piped", "tassels", "no-trim")},
        ("outline", "pattern", ""),
        ("40cm", "45cm", "50cm"),
        ("cotton", "velvet", "linen"),
    ),
)


@dataclass(frozen=True)
class Product:
    """One product: everything that all of its photos and titles have in common.

    `options` maps each part of the category, and "pattern", "colour" and "accent", to an option.
    `proportions` are four numbers in [-1, 1] that shape the outline within its option, and
    `hue_shift` moves every colour a little (RGB, 0 to 255), so two reds are seldom the same red.
    """

    category: Category
    options: dict[str, str]
    proportions: tuple[float, float, float, float]
    hue_shift: RGB
    pattern_scale: float
    brand: str
    model: str
    size: str
    finish: str
    attributes: tuple[str, str, str] = field(init=False)

    def __post_init__(self) -> None:
        recorded = (self.options[part] if part else "" for part in self.category.recorded)
        object.__setattr__(self, "attributes", tuple(recorded))

    def rgb(self, part: str) -> RGB:
        """The product's own shade of the colour that is its option for `part`."""
        red, green, blue = COLOURS[self.options[part]]
        shift = self.hue_shift
        return (red + shift[0], green + shift[1], blue + shift[2])


def product_at(seed: int, index: int) -> Product:
    """The product at `index` of the catalogue of `seed`, whatever the catalogue's length.

    Categories take turns, so that the first products already show all of them. Within a category
    each FAMILY_SIZE products in a row are one design: the first, then one product for each of
    colour, pattern and the category's first part, in which alone it differs from the first.
    """
    block, column = divmod(index, len(CATEGORIES))
    family, variant = divmod(block, FAMILY_SIZE)
    generator = np.random.default_rng([seed, FAMILY_STREAM, column, family])
    category = CATEGORIES[column]
    design = _draw_design(category, generator)
    varied_parts = ("colour", "pattern", next(iter(category.parts)))
    variants = [design] + [_vary(design, part, generator) for part in varied_parts]
    return variants[variant]


def _draw_design(category: Category, generator: np.random.Generator) -> Product:
    options = {part: pick(generator, names) for part, names in category.parts.items()}
    options["pattern"] = pick(generator, PATTERNS)
    options["colour"] = pick(generator, tuple(COLOURS))
    options["accent"] = pick(generator, _standing_out_from(options["colour"]))
    first, second, third, fourth = generator.uniform(-1, 1, size=4).tolist()
    red, green, blue = generator.integers(-12, 13, size=3).tolist()
    return Product(
        category=category,
        options=options,
        proportions=(first, second, third, fourth),
        hue_shift=(red, green, blue),
        pattern_scale=float(generator.uniform(0.75, 1.35)),
        brand=pick(generator, BRANDS),
        model=pick(generator, MODELS),
        size=pick(generator, category.sizes),
        finish=pick(generator, category.finishes),
    )


def _vary(design: Product, part: str, generator: np.random.Generator) -> Product:
    """The design with another option for `part`; a colour still stands out from the accent."""
    choices: Sequence[str] = PATTERNS
    if part == "colour":
        choices = _standing_out_from(design.options["accent"])
    elif part in design.category.parts:
        choices = design.category.parts[part]
    others = [name for name in choices if name != design.options[part]]
    return replace(design, options=design.options | {part: pick(generator, others)})


def _standing_out_from(colour: str) -> list[str]:
    """The colours that a pattern can be seen in on `colour`: navy dots on black are none."""
    return [
        name
        for name, rgb in COLOURS.items()
        if sum(abs(a - b) for a, b in zip(rgb, COLOURS[colour], strict=True)) >= MIN_CONTRAST
    ]


def pick(generator: np.random.Generator, names: Sequence[str]) -> str:
    """One of `names`, each as likely as the next, as a plain `str`."""
    return names[int(generator.integers(len(names)))]
