"""Who is let in, and what a client may send."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from embed.errors import SettingsError
from embed.store import Store, StoreWriter
from retrieval.service.app import create_app
from retrieval.service.guard import GuardSettings, guard_of
from retrieval.service.images import Thumbnails
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings, UploadLimits
from tests.conftest import Invoke
from tests.retrieval.service.conftest import Demo, running, serving

TOKEN = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def strict(demo: Demo) -> Iterator[httpx.Client]:
    settings = replace(demo.settings, limits=UploadLimits(200_000, 1_000_000), heads=())
    guard = GuardSettings(token=TOKEN, max_bytes=200_000)
    with serving(settings, guard) as address, httpx.Client(base_url=address) as client:
        yield client


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_token_guards_everything_but_the_page(strict: httpx.Client) -> None:
    for path in ("/store", "/metrics", "/openapi.json", "/image/p00000-00", "/nobody"):
        assert strict.get(path).status_code == 401, path
        assert strict.get(path, headers=bearer(TOKEN[:-1] + "x")).status_code == 401
    assert strict.get("/store", headers=bearer()).status_code == 200
    assert strict.get("/").status_code == strict.get("/main.js").status_code == 200


def test_health_needs_no_token_and_tells_strangers_no_more(strict: httpx.Client) -> None:
    assert strict.get("/healthz").json() == {"status": "ok", "num_items": None}
    wrong = strict.get("/healthz", headers=bearer(TOKEN[:-1] + "x"))
    assert wrong.json() == {"status": "ok", "num_items": None}
    shown = strict.get("/healthz", headers=bearer()).json()
    assert shown == {"status": "ok", "num_items": 96}
    assert strict.post("/healthz").status_code in (401, 403)


def test_a_cookie_stands_for_the_token(strict: httpx.Client) -> None:
    own = {"X-Requested-With": "product-search"}
    assert strict.post("/session", headers=own).status_code == 401
    answer = strict.post("/session", headers=own | bearer())
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert "secure" not in cookie.lower()
    assert strict.get("/image/p00000-00").status_code == 200
    strict.cookies.clear()
    assert strict.get("/image/p00000-00").status_code == 401


def test_a_cookie_of_an_encrypted_page_goes_no_other_way(strict: httpx.Client) -> None:
    own = {"X-Requested-With": "product-search"} | bearer()
    proxied = own | {"Origin": f"https://{strict.base_url.netloc.decode()}"}
    answer = strict.post("/session", headers=proxied)
    assert answer.status_code == 204 and "; Secure" in answer.headers["set-cookie"]
    strict.cookies.clear()


def test_other_hosts_and_origins_are_refused(strict: httpx.Client) -> None:
    assert strict.get("/store", headers=bearer() | {"Host": "evil.example"}).status_code == 403
    own = {"X-Requested-With": "product-search"} | bearer()
    assert strict.post("/session", headers=bearer()).status_code == 403
    foreign = own | {"Origin": "http://evil.example"}
    assert strict.post("/session", headers=foreign).status_code == 403
    same = own | {"Origin": str(strict.base_url).rstrip("/")}
    assert strict.post("/session", headers=same).status_code == 204
    strict.cookies.clear()


def test_pages_of_other_sites_can_begin_nothing(client: httpx.Client) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    refused = client.get("/groups?threshold=0.31", headers=foreign)
    assert (refused.status_code, "own page" in refused.json()["detail"]) == (403, True)
    assert client.get("/", headers=foreign).status_code == 200  # a link to the page
    for own in ("same-origin", "none"):
        assert client.get("/store", headers={"Sec-Fetch-Site": own}).status_code == 200


def test_answers_tell_browsers_to_be_careful(strict: httpx.Client) -> None:
    for answer in (strict.get("/"), strict.get("/store"), strict.get("/store", headers=bearer())):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("says_its_size", [True, False])
def test_large_requests_are_refused_while_they_arrive(
    strict: httpx.Client, says_its_size: bool
) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = form + b"x" * 300_000
    content = body if says_its_size else (body[n : n + 10_000] for n in range(0, len(body), 10_000))
    headers = bearer() | {"Content-Type": "multipart/form-data; boundary=b"}
    answer = strict.post("/search", content=content, headers=headers)
    assert answer.status_code == 413 and "at most 200,000 bytes" in answer.json()["detail"]


def bomb() -> bytes:
    file = BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"GIF89a", "not a JPEG"), (b"no image at all", "not a JPEG"), (bomb(), "too many pixels")],
    ids=["cut", "text", "bomb"],
)
def test_bad_images_are_told(strict: httpx.Client, data: bytes, reason: str) -> None:
    upload = {"image": ("a.png", data, "image/png")}
    form = {"space": "hog"}
    answer = strict.post("/search", files=upload, data=form, headers=bearer())
    assert answer.status_code == 422 and reason in answer.json()["detail"]


def test_a_token_is_needed_where_others_reach_the_service(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--token-file"):
        guard_of("0.0.0.0", None, (), 1)
    path = tmp_path / "token"
    path.write_text("short\n")
    with pytest.raises(SettingsError, match="16 characters or more"):
        guard_of("0.0.0.0", path, (), 1)
    path.write_text(TOKEN + "\n")
    guard = guard_of("0.0.0.0", path, ("shop.example",), 1)
    assert guard.token == TOKEN and "shop.example" in guard.hosts and guard.any_address
    assert guard_of("127.0.0.2", None, (), 1).token is None


def test_a_token_is_needed_behind_a_proxy(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--allow-host shop\.example .* --token-file"):
        guard_of("127.0.0.1", None, ("localhost", "shop.example"), 1)
    assert guard_of("127.0.0.1", None, ("localhost", "127.0.0.3"), 1).token is None
    path = tmp_path / "token"
    path.write_text(TOKEN)
    guard = guard_of("127.0.0.1", path, ("shop.example",), 1)
    assert guard.token == TOKEN and "shop.example" in guard.hosts and not guard.any_address


def test_images_do_not_leave_their_root(demo: Demo, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    outside = tmp_path / "outside.jpg"
    shutil.copy(demo.folder / "catalogue" / "images" / "p00000-00.jpg", outside)
    (root / "images" / "p00000-00.jpg").symlink_to(outside)
    with Store(demo.store) as store:
        paths = store.column("image").tolist()
        assert paths[0] == "images/p00000-00.jpg"
        paths[1:4] = ["../outside.jpg", str(outside), "http://127.0.0.1:1/a.jpg"]
        with StoreWriter(tmp_path / "s.h5", "", {}) as writer:
            writer.copy_items(store)
            del writer._file["items/image"]
            writer._write_array("items/image", np.array(paths, object))
            writer.copy_space(store, "phash")
    settings = ServiceSettings(tmp_path / "s.h5", image_root=root)
    with serving(settings) as address, httpx.Client(base_url=address) as client:
        for number in range(4):
            answer = client.get(f"/image/p00000-0{number}")
            assert answer.status_code == 422, number
            assert str(tmp_path) not in answer.text
        outside.unlink()
        (root / "images" / "p00000-00.jpg").unlink()
        photo = demo.folder / "catalogue" / "images" / "p00000-00.jpg"
        shutil.copy(photo, root / "images" / "p00000-00.jpg")
        assert client.get("/image/p00000-00").status_code == 200


def test_thumbnails_keep_within_their_bytes(demo: Demo) -> None:
    data = (demo.folder / "catalogue" / "images" / "p00000-00.jpg").read_bytes()
    thumbnails = Thumbnails(8_000, 10**8)
    one = len(thumbnails.get(0, 128, lambda: data).data)
    for number in range(50):
        thumbnails.get(number, 128, lambda: data)
    assert thumbnails.num_bytes == len(thumbnails) * one <= 8_000
    assert thumbnails.num_made == 50 and thumbnails.num_found == 1


def test_the_command_serves_and_ends_cleanly(demo: Demo, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "retrieval", "serve", demo.store, "--port", "0"]
    with subprocess.Popen(
        [str(each) for each in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[-1]
        assert httpx.get(f"{address}healthz").json() == {"status": "ok", "num_items": 96}
        process.send_signal(2)
        _, errors = process.communicate(timeout=60)
    assert (errors, process.returncode) == ("", 0)


def test_a_port_that_is_taken_is_one_line(demo: Demo, retrieval_cli: Invoke) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = retrieval_cli("serve", demo.store, "--port", port, exit_code=2)
    assert result.output.count("\n") == 1 and f"port {port}" in result.output


def test_faults_are_logged_and_not_told(demo: Demo, capfd: pytest.CaptureFixture[str]) -> None:
    service = Service(ServiceSettings(demo.store, space="phash"))
    with running(create_app(service)) as address:
        asked = {"id": "p00000-00"}
        assert httpx.get(f"{address}/search", params=asked, timeout=60).status_code == 200
        service.snapshot.store.close()  # a fault of the service: what it reads is gone
        answer = httpx.get(f"{address}/search", params=asked | {"space": "hog"})
    assert answer.status_code == 500 and list(answer.json()) == ["detail"]
    assert "Traceback" not in answer.text and "Traceback" in capfd.readouterr().err
    service.close()
