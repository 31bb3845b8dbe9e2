"""Numbers as people write them beside what they count."""


def counted(number: int, noun: str) -> str:
    """'1 row', '2 rows', '1,000 classes': `noun` in the singular, of which it makes the plural."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a noun that is regular; 'epochs' is, of those that end in ch."""
    if noun.endswith(("s", "x", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
