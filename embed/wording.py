"""Numbers as people write them beside what they count."""

SINGULAR = {"are": "is", "were": "was", "have": "has"}


def counted(number: int, noun: str, verb: str = "") -> str:
    """'1 row has', '2 rows have', '1,000 classes': of the noun in the singular, the verb not."""
    counts = f"{number:,} {noun if number == 1 else plural(noun)}"
    return f"{counts} {agreeing(number, verb)}" if verb else counts


def plural(noun: str) -> str:
    """The plural of a noun that is regular; 'epochs' is, of those that end in ch."""
    if noun.endswith(("s", "x", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def agreeing(number: int, verb: str) -> str:
    """'has' for 1 and 'have' for others, of the verb 'have'."""
    return SINGULAR.get(verb, f"{verb}s") if number == 1 else verb
