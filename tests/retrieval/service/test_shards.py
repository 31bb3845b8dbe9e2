"""A store whose images lie in tar shards: they are served from there, and from nowhere else."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import h5py
import httpx
import pytest
from PIL import Image

from embed.cli import main as embed_main
from retrieval.service.settings import ServiceSettings
from tests.conftest import write_catalogue
from tests.retrieval.service.conftest import run_command, serving


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of six images each, beside the store that was made of them."""
    folder = tmp_path_factory.mktemp("shards")
    manifest = write_catalogue(folder / "catalogue", 4, 3)
    photos = sorted((manifest.parent / "images").iterdir())
    for number in range(2):
        with tarfile.open(folder / f"shards-{number}.tar", "w") as tar:
            for photo in photos[6 * number : 6 * number + 6]:
                tar.add(photo, f"photos/{photo.name}")
                title = f"thing {photo.stem}".encode()
                told = tarfile.TarInfo(f"photos/{photo.stem}.txt")
                told.size = len(title)
                tar.addfile(told, io.BytesIO(title))
    spaces = ("--image-encoder", "hog=classic:color-hog", "--text-encoder", "tfidf")
    run_command(embed_main, "run", folder / "shards-{0..1}.tar", "-o", folder / "store.h5", *spaces)
    return folder


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[httpx.Client]:
    with (
        serving(ServiceSettings(made / "store.h5", "0.5", "hog")) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def test_thumbnails_are_of_the_right_member(client: httpx.Client, made: Path) -> None:
    items = client.get("/items?limit=12").json()["items"]
    assert len(items) == 12 and client.get("/store").json()["warnings"] == []
    for item in items:
        answer = client.get(item["image"], params={"size": 64})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        with (
            Image.open(BytesIO(answer.content)) as shown,
            Image.open(made / "catalogue" / "images" / f"{item['title'][6:]}.png") as photo,
        ):
            assert shown.size == photo.size == (64, 48)
            centres = [
                image.convert("RGB").resize((1, 1)).getpixel((0, 0)) for image in (shown, photo)
            ]
            assert centres[0] == pytest.approx(centres[1], abs=8)


def test_items_of_shards_are_searched(client: httpx.Client, made: Path) -> None:
    (one,) = client.get("/items?limit=1").json()["items"]
    found = client.get("/search", params={"id": one["id"], "k": 11}).json()["results"]
    assert len(found) == 11 and one["id"] not in {each["id"] for each in found}
    photo = (made / "catalogue" / "images" / f"{one['title'][6:]}.png").read_bytes()
    upload = {"image": ("a.png", photo, "image/png")}
    (best,) = client.post("/search", files=upload, data={"k": "1"}).json()["results"]
    assert best["id"] == one["id"] and best["score"] >= 0.9999


@pytest.mark.parametrize("fault", ["gone", "cut"])
def test_a_shard_that_goes_or_is_damaged_takes_no_more_than_its_own_images_along(
    made: Path, tmp_path: Path, fault: str
) -> None:
    for path in made.glob("shards-*.tar"):
        shutil.copy(path, tmp_path)
    with serving(_moved(made, tmp_path)) as address:
        client = httpx.Client(base_url=address, timeout=60)
        if fault == "gone":
            (tmp_path / "shards-1.tar").unlink()
        else:
            os.truncate(tmp_path / "shards-1.tar", 900)
        items = client.get("/items?limit=12").json()["items"]
        answers = [client.get(item["image"]) for item in items]
        assert [answer.status_code for answer in answers] == [200] * 6 + [422] * 6
        assert answers[-1].json()["detail"].startswith("the item's image is not there")
        assert client.get("/search", params={"id": items[-1]["id"]}).status_code == 200
        client.close()


def test_a_store_without_its_shards_says_that_there_are_no_images(
    made: Path, tmp_path: Path
) -> None:
    with serving(_moved(made, tmp_path)) as address:
        assert httpx.get(f"{address}/items?limit=1").json()["items"][0]["image"] is None
        (warning,) = httpx.get(f"{address}/store").json()["warnings"]
    assert warning == "items have no images: shards-0.tar is gone; give --image-root"


def _moved(made: Path, folder: Path) -> ServiceSettings:
    """The store, which says that its shards are in another folder."""
    store = Path(shutil.copy(made / "store.h5", folder))
    with h5py.File(store, "r+") as file:
        origin = json.loads(file.attrs["images"])
        origin["shards"] = [str(folder / Path(path).name) for path in origin["shards"]]
        file.attrs["images"] = json.dumps(origin)
    return ServiceSettings(store, "0.5", "hog")
