"""A space of images whose model takes titles, too: both find its items, each by its own tower."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from jaxtyping import Float

from embed.cli import main as embed_main
from embed.store import Store
from retrieval.service.settings import ServiceSettings
from tests.conftest import write_catalogue
from tests.embed.encoders.tiny_models import clip_folder, text_encoder
from tests.retrieval.service.conftest import run_command, serving

TITLE = "a red thing"


@dataclass(frozen=True)
class Towers:
    """A service over twelve images, by one tower of a tiny model."""

    store: Path
    spec: str
    client: httpx.Client


@pytest.fixture(scope="module", params=["clip", "siglip"])
def towers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Towers]:
    folder = tmp_path_factory.mktemp("towers")
    spec = f"transformers:{clip_folder(folder / 'model', request.param)}"
    source, store = write_catalogue(folder / "catalogue", 4, 3), folder / "store.h5"
    run_command(embed_main, "run", source, "-o", store, "--image-encoder", f"photo={spec}")
    with (
        serving(ServiceSettings(store, "0.1", "photo")) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield Towers(store, spec, client)


def test_both_are_taken(towers: Towers) -> None:
    (space,) = towers.client.get("/store").json()["spaces"]
    assert (space["takes"], space["why_not"]) == (["id", "image", "title"], None)
    assert (space["modality"], space["needs_both"]) == ("image", False)


def test_a_title_is_scored_by_the_encoders_own_vector(towers: Towers) -> None:
    answer = _once_loaded(towers.client, {"title": TITLE, "k": "12"})
    assert answer["spaces"] == [{"name": "photo", "weight": 1.0, "used_for": "title"}]
    ids, stored, title = _vectors(towers)
    scores = stored @ title
    found = _scores(answer)
    assert list(found) == [ids[row] for row in np.argsort(-scores, kind="stable")]
    assert [found[name] for name in ids] == pytest.approx(scores.tolist(), abs=1e-6)
    assert len({round(score, 5) for score in found.values()}) > 6  # they tell items apart
    assert answer["num_matches"] == int((scores >= 0.1).sum())


def test_an_image_and_a_title_are_searched_by_their_weighted_mean(towers: Towers) -> None:
    _once_loaded(towers.client, {"title": TITLE})
    image = (towers.store.parent / "catalogue" / "images" / "2-1.png").read_bytes()
    upload = {"image": ("a.png", image, "image/png")}
    form = {"title": TITLE, "image_weight": "0.75", "k": "12"}
    answer = towers.client.post("/search", files=upload, data=form).json()
    assert answer["spaces"][0]["used_for"] == "image and title"
    ids, stored, title = _vectors(towers)
    mixed = 0.75 * stored[ids.index("p2-1")] + 0.25 * title
    scores = stored @ mixed / np.linalg.norm(mixed)
    assert [_scores(answer)[name] for name in ids] == pytest.approx(scores.tolist(), abs=1e-4)


def _vectors(towers: Towers) -> tuple[list[str], Float[np.ndarray, "n d"], Float[np.ndarray, " d"]]:
    """The ids of the store, the vectors of its images and that of the title, of length 1."""
    with Store(towers.store) as store:
        precision, ids = store.space("photo").precision, store.ids.tolist()
        stored = np.array(store.array("photo"), np.float64)
    (title,) = text_encoder(towers.spec, precision).encode([TITLE]).astype(np.float64)
    lengths = np.linalg.norm(stored, axis=1, keepdims=True)
    return ids, stored / lengths, title / np.linalg.norm(title)


def _once_loaded(client: httpx.Client, parameters: dict[str, str]) -> dict[str, Any]:
    for _ in range(3000):
        answer = client.get("/search", params=parameters)
        if answer.status_code != 503:
            break
        time.sleep(0.01)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    return {each["id"]: each["score"] for each in answer["results"]}
