"""Listing titles for the demonstration catalogue, as careless as sellers write them."""

from __future__ import annotations

import numpy as np

from embed.demo.products import Product, pick

CATEGORY_WORDS: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "coffee mug", "cup", "tea cup", "coffee cup"),
    "t-shirt": ("t-shirt", "tee", "shirt", "tshirt", "top"),
    "shoe": ("shoes", "sneakers", "trainers", "shoe", "kicks"),
    "bag": ("bag", "handbag", "carry bag", "day bag"),
    "lamp": ("lamp", "table lamp", "desk light", "bedside lamp"),
    "bottle": ("bottle", "water bottle", "flask", "drinking bottle"),
    "cushion": ("cushion", "pillow", "throw pillow", "sofa cushion"),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "mustard", "lemon"),
    "green": ("green", "forest", "sage"),
    "teal": ("teal", "petrol", "turquoise"),
    "blue": ("blue", "azure", "sky"),
    "navy": ("navy", "dark blue", "midnight"),
    "purple": ("purple", "violet", "plum"),
    "pink": ("pink", "rose", "blush"),
    "brown": ("brown", "chocolate", "chestnut"),
    "beige": ("beige", "sand", "cream"),
    "grey": ("grey", "gray", "silver"),
    "black": ("black", "jet", "blk"),
    "white": ("white", "ivory", "snow"),
}
# What sellers write for an option; those that nobody would mention have no entry.
OPTION_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid", "uni"),
    "stripes": ("striped", "stripes", "breton"),
    "pinstripes": ("pinstripe", "pinstriped", "fine stripe"),
    "dots": ("dotted", "polka dot", "spots"),
    "checks": ("checked", "gingham", "plaid"),
    "zigzag": ("zigzag", "chevron", "wave"),
    "v-neck": ("v-neck", "v neck"),
    "polo": ("polo", "collar"),
    "long": ("long sleeve", "longsleeve"),
    "sleeveless": ("sleeveless", "tank"),
    "low-top": ("low top", "low"),
    "high-top": ("high top", "hi-top"),
    "slip-on": ("slip on", "slip-on"),
    "gum": ("gum sole",),
    "tote": ("tote", "shopper"),
    "satchel": ("satchel", "crossbody"),
    "backpack": ("backpack", "rucksack"),
    "pocket": ("with pocket", "front pocket"),
    "cone": ("cone shade", "classic shade"),
    "dome": ("dome", "mushroom"),
    "drum": ("drum shade", "drum"),
    "tripod": ("tripod", "3 legs"),
    "jug": ("ceramic base", "jug base"),
    "cork": ("cork", "cork stopper"),
    "loop": ("carry loop", "loop lid"),
    "round": ("round",),
    "bolster": ("bolster", "neck roll"),
    "oblong": ("oblong", "rectangular", "lumbar"),
    "piped": ("piped", "with piping"),
    "tassels": ("tassels", "tasselled"),
    "belly": ("belly", "barrel"),
    "tapered": ("tapered", "conical"),
    "slim": ("slim",),
    "wide": ("wide mouth", "wide"),
}
SALES_WORDS = (
    "free shipping", "NEW", "best price", "hot sale", "100% original", "ready stock", "gift idea",
    "limited", "sale", "top quality", "fast delivery", "bestseller", "promo", "2024 new",
)  # fmt: skip


def write_titles(product: Product, generators: list[np.random.Generator]) -> list[str]:
    """One title for each generator, each unlike the ones before it."""
    titles: list[str] = []
    for generator in generators:
        title = _write_title(product, generator)
        while title in titles:
            title = f"{title} {pick(generator, SALES_WORDS)}"
        titles.append(title)
    return titles


def _write_title(product: Product, generator: np.random.Generator) -> str:
    phrases = _chosen_phrases(product, generator)
    if generator.random() < 0.5:
        phrases = [phrases[place] for place in generator.permutation(len(phrases))]
    words = [
        _misspell(word, generator) if generator.random() < 0.04 else word
        for word in " ".join(phrases).split()
    ]
    return _in_case(" ".join(words), generator)


def _chosen_phrases(product: Product, generator: np.random.Generator) -> list[str]:
    """The phrases that this seller thought of, in the usual order: brand first, sales talk last."""
    options = product.options
    mentions: list[tuple[float, tuple[str, ...]]] = [
        (0.12, SALES_WORDS),
        (0.75, (product.brand,)),
        (0.55, (product.model,)),
        (0.75, COLOUR_WORDS[options["colour"]]),
        (0.2, COLOUR_WORDS[options["accent"]]),
        (0.6, OPTION_WORDS[options["pattern"]]),
        *((0.45, OPTION_WORDS.get(options[part], ())) for part in product.category.parts),
        (0.35, (product.finish,)),
        (1.0, CATEGORY_WORDS[product.category.name]),
        (0.45, (product.size, f"size {product.size}", product.size.lower())),
        (0.35, SALES_WORDS),
    ]
    return [
        pick(generator, wordings)
        for share, wordings in mentions
        if generator.random() < share and wordings
    ]


def _misspell(word: str, generator: np.random.Generator) -> str:
    """One letter dropped, doubled, or swapped with the next; short words are spelt right."""
    if len(word) < 4:
        return word
    place = int(generator.integers(1, len(word) - 1))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    slips = (before + after, before + 2 * letter + after, before + after[0] + letter + after[1:])
    return pick(generator, slips)


def _in_case(title: str, generator: np.random.Generator) -> str:
    return pick(generator, (title, title, title.lower(), title.title(), title.upper()))
