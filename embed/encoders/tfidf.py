"""TF-IDF of titles by scikit-learn, fitted on the catalogue that it describes."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Shaped
from sklearn.feature_extraction.text import TfidfVectorizer

from embed.encoders.base import FittedSpace, FittedTextEncoder
from embed.encoders.specs import EncoderSpec
from embed.errors import EncoderError, SpecError
from embed.store import SpaceInfo

OPTIONS = ("analyzer", "ngrams", "max_features", "min_df", "binary", "sublinear")


class TfIdf(FittedTextEncoder):
    """TF-IDF rows of unit length over the words (or characters) of all titles.

    Options: `analyzer` word, char or char_wb; `ngrams` such as 1-2; `max_features`; `min_df`, the
    fewest titles that a term must stand in; `binary` and `sublinear`, true or false.
    """

    def __init__(self, spec: EncoderSpec) -> None:
        self.name, self.spec = spec.name, spec.text
        self._settings = _settings(spec)

    def fit_encode(self, titles: Sequence[str]) -> FittedSpace:
        """Learn the vocabulary of these titles and encode them: (n, terms), float32, unit length.

        Raises:
            EncoderError: the titles hold no term at all.
        """
        vectorizer = TfidfVectorizer(dtype=np.float32, **self._settings)
        try:
            vectors = scipy.sparse.csr_array(vectorizer.fit_transform(titles))
        except ValueError as error:
            raise EncoderError(
                f"encoder '{self.spec}' finds no term in {len(titles)} titles: "
                f"is --title-column right? ({error})"
            ) from error
        fitted = {
            "vocabulary": vectorizer.get_feature_names_out().astype(object),
            "idf": vectorizer.idf_.astype(np.float32),
        }
        return FittedSpace(self.info_of(fitted), vectors, fitted)

    def encode_as(
        self, fitted: Mapping[str, Shaped[np.ndarray, " m"]], titles: Sequence[str]
    ) -> scipy.sparse.csr_array:
        """Other titles by what was learnt before, which a store keeps: (n, terms), float32.

        A title without any known term is a row without components.
        """
        known = {"vocabulary": fitted["vocabulary"].tolist(), "max_features": None, "min_df": 1}
        vectorizer = TfidfVectorizer(dtype=np.float32, **self._settings | known)
        vectorizer.idf_ = fitted["idf"]
        return scipy.sparse.csr_array(vectorizer.transform(titles), dtype=np.float32)

    def info_of(self, fitted: Mapping[str, Shaped[np.ndarray, " m"]]) -> SpaceInfo:
        """What a space says of itself that was fitted so."""
        digest = hashlib.blake2b(repr(sorted(self._settings.items())).encode(), digest_size=16)
        digest.update("\0".join(fitted["vocabulary"]).encode())
        digest.update(fitted["idf"].tobytes())
        return SpaceInfo(
            kind="sparse",
            modality="text",
            spec=self.spec,
            fingerprint=digest.hexdigest(),
            precision="fp32",
            normalized=True,
            dim=len(fitted["idf"]),
        )


def _settings(spec: EncoderSpec) -> dict[str, Any]:
    """The options as scikit-learn's arguments."""
    spec.check_options(OPTIONS)
    options = spec.options
    try:
        first, _, last = options.get("ngrams", "1-1").partition("-")
        settings: dict[str, Any] = {
            "analyzer": options.get("analyzer", "word"),
            "ngram_range": (int(first), int(last or first)),
            "max_features": int(options["max_features"]) if "max_features" in options else None,
            "min_df": int(options.get("min_df", "1")),
            "binary": _flag(options.get("binary", "false")),
            "sublinear_tf": _flag(options.get("sublinear", "false")),
        }
    except ValueError as error:
        raise SpecError(f"encoder '{spec.text}': {error}") from error
    if settings["analyzer"] not in ("word", "char", "char_wb"):
        raise SpecError(
            f"encoder '{spec.text}': analyzer is word, char or char_wb, "
            f"found '{settings['analyzer']}'"
        )
    return settings


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"'{text}' should be true or false")
    return text == "true"
