"""What heads take in of a photo and a title by their shares: hidden layers, and heads of heads."""

import shutil
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from jaxtyping import Float32

from embed.store import Store
from heads.cli import main as heads_main
from heads.features import SpaceReference
from heads.head import Head, load_head
from heads.projection.bodies import Body, project
from retrieval.service.encoders import EncoderPool
from retrieval.service.queries import Given, QueryEncoders
from tests.retrieval.service.conftest import Demo, run_command

SMALL = ("--target", "label", "--split", "60/20/20", "--epochs", 1)
PHOTO, TITLE = "p00003-00", "p00011-01"

Vectors = Float32[np.ndarray, "1 d"]


class Opened:
    """A copy of the demo's store with two heads more, and what encodes queries for it.

    `hidden` has hidden layers and takes in what `head` does; `above` takes in `head` and `hog`.
    """

    def __init__(self, demo: Demo, store: Store, pool: EncoderPool) -> None:
        folder = store.path.parent
        self.demo, self.store = demo, store
        paths = {"head": demo.head} | {
            name: folder / f"{name}.safetensors" for name in ("hidden", "above")
        }
        self.heads: dict[str, Head] = {name: load_head(path) for name, path in paths.items()}
        self.encoders = QueryEncoders(store, pool, list(self.heads.values()), 10**8)
        self.encoders.begin()
        while pool.num_loading:
            time.sleep(0.01)

    def given(self, photo: str, title: str, image_weight: float) -> Given:
        image = self.demo.folder / "catalogue" / "images" / f"{photo}.jpg"
        own = self.store.column("title")[self.row(title)]
        return Given(image.read_bytes(), own, image_weight)

    def row(self, name: str) -> int:
        return int(self.store.ids.tolist().index(name))

    def features(self, head: str, given: Given) -> Vectors:
        return self.encoders.features(given, self.heads[head].info.spaces)

    def vector(self, head: str, given: Given) -> Vectors:
        made = self.encoders.vectors(given, {head: ("image", "title")})[head]["image"]
        return np.asarray(made)


@pytest.fixture(scope="module")
def opened(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("deeper")
    path = folder / "store.h5"
    shutil.copy(demo.store, path)
    bodies = {
        "hidden": ("--space", "hog", "--space", "tfidf", "--body", "mlp", "--width", 16),
        "above": ("--space", "head", "--space", "hog"),
    }
    for name, body in bodies.items():
        head = folder / f"{name}.safetensors"
        run_command(heads_main, "train", path, "-o", head, *body, "--dim", 16, *SMALL)
        run_command(heads_main, "apply", path, head)
    pool = EncoderPool("cpu")
    with Store(path) as store:
        deeper = Opened(demo, store, pool)
        yield deeper
        deeper.encoders.close()
    pool.close()


@pytest.mark.parametrize("head", ["head", "hidden", "above"])
def test_at_half_and_half_the_vector_is_that_of_the_item(opened: Opened, head: str) -> None:
    vector = opened.vector(head, opened.given(PHOTO, PHOTO, 0.5))
    stored = np.array(opened.store.array(head)[[opened.row(PHOTO)]], np.float32)
    assert (vector @ stored.T).item() >= 0.9999


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.75])
@pytest.mark.parametrize(("head", "is_linear"), [("head", True), ("hidden", False)])
def test_shares_are_of_what_goes_in_and_for_a_linear_head_of_what_comes_out(
    opened: Opened, head: str, is_linear: bool, weight: float
) -> None:
    of_image = np.array(opened.store.array("hog")[[opened.row(PHOTO)]], np.float32)
    of_title = opened.store.sparse("tfidf")[[opened.row(TITLE)]].toarray()
    given = opened.given(PHOTO, TITLE, weight)
    features = opened.features(head, given)
    expected = np.concatenate([2 * weight * of_image, 2 * (1 - weight) * of_title], axis=1)
    assert features == pytest.approx(expected, abs=2e-3)  # the store's are halves
    body = opened.heads[head].network
    assert isinstance(body, Body)
    vector = project(body, torch.from_numpy(features)).numpy()
    assert opened.vector(head, given) == pytest.approx(vector, abs=1e-5)
    image_alone, title_alone = features / weight, features / (1 - weight)
    image_alone[:, of_image.shape[1] :] = title_alone[:, : of_image.shape[1]] = 0
    rows = np.concatenate([features, image_alone, title_alone])
    with torch.no_grad():
        shared, made_of_image, made_of_title = body.map(torch.from_numpy(rows))
    away = weight * made_of_image + (1 - weight) * made_of_title - shared
    assert (away.norm() < 1e-4 * shared.norm()).item() == is_linear


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_what_a_head_made_of_both_is_not_weighed_twice(opened: Opened, weight: float) -> None:
    given = opened.given(PHOTO, TITLE, weight)
    features = opened.features("above", given)
    of_both = opened.vector("head", given)
    dim = of_both.shape[1]
    assert features[:, :dim] == pytest.approx(of_both, abs=2e-3)
    assert np.linalg.norm(features[:, :dim]) == pytest.approx(1.0, abs=1e-3)
    assert np.linalg.norm(features[:, dim:]) == pytest.approx(2 * weight, abs=2e-3)


def test_what_goes_into_a_space_is_what_went_into_its_heads(opened: Opened) -> None:
    parts = {space: opened.encoders.parts_of(space) for space in opened.store.spaces}
    both = {"image", "title"}
    assert parts["hog"] == {"image"} and parts["tfidf"] == {"title"}
    assert parts["head"] == parts["hidden"] == parts["above"] == both
    only: tuple[SpaceReference, ...] = opened.heads["above"].info.spaces[1:]
    alone = opened.encoders.features(opened.given(PHOTO, TITLE, 0.9), only)
    assert np.linalg.norm(alone) == pytest.approx(1.0, abs=1e-3)  # there is nothing to share
