"""What clients may read of this machine: the names of files, and not where they lie."""

import re
from collections.abc import Iterable
from pathlib import Path

from embed.encoders.specs import EncoderSpec
from embed.errors import SpecError
from retrieval.service.settings import ServiceSettings

START = r"(?:(?<=file://)|(?<![\w/.~]))"
FURTHER = r"[^\s/'\"]+/"
QUOTED = re.compile(r"(?<=['\"])(?:~|\.{1,2})?/[^'\"\n]*/(?=[^/'\"\n]+/?['\"])")
PLAIN = re.compile(rf"{START}(?:~|\.{{1,2}})?/(?:{FURTHER})+(?=[^\s/'\"])")


def without_folders(text: str, known: Iterable[Path] = ()) -> str:
    """A sentence in which each path is its last part alone.

    A path that is not in quotes ends at a blank, unless it lies in one of the `known` folders.
    """
    forms = {form for each in known for form in (str(each), str(each.absolute()))} - {".", "/"}
    if forms:
        either = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        text = re.sub(rf"{START}(?:{either})/(?:{FURTHER})*(?=[^\s/'\"])", "", text)
    return PLAIN.sub("", QUOTED.sub("", text))


def shown_spec(spec: str) -> str:
    """The spec of an encoder; of a folder or a file in it, the name alone."""
    return without_folders(spec, folders_of_spec(spec))


def folders_of_spec(spec: str) -> list[Path]:
    """The folders of the files that a spec names."""
    try:
        parsed = EncoderSpec.parse(spec, "image")
    except SpecError:  # of titles alone, of a head or imported: no file
        return []
    model = Path(parsed.model).expanduser()
    named = [model] if parsed.folder is not None or model.is_absolute() else []
    return [path.parent for path in (*named, *filter(None, [parsed.weights]))]


def folders_of_settings(settings: ServiceSettings) -> list[Path]:
    """The folders of all files that a service is given."""
    threshold = None if settings.threshold is None else Path(settings.threshold)
    given = (threshold, settings.image_root, settings.neighbours, settings.decisions)
    return [path.parent for path in filter(None, (settings.store, *settings.heads, *given))]
