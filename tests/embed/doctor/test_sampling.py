"""A sample of a catalogue is a catalogue of its own, whose images are found where they were."""

import io
import tarfile
from pathlib import Path

from PIL import Image

from embed.doctor.examination import DoctorSettings, _read_catalogue
from embed.doctor.sampling import NUM_STRETCHES, ROWS_PER_STRETCH, cut_sample, spread
from embed.sources import Fetcher, FetchSettings, SourceSettings, read_source


def write_shard(path: Path, count: int) -> None:
    with tarfile.open(path, "w") as shard:
        for number in range(count):
            data = io.BytesIO()
            Image.new("RGB", (8, 8), (number, 0, 0)).save(data, "PNG")
            member = tarfile.TarInfo(f"{number:03}.png")
            member.size = len(data.getvalue())
            shard.addfile(member, io.BytesIO(data.getvalue()))


def test_stretches_reach_from_the_first_row_to_the_last() -> None:
    assert spread(10, 2, 3) == [0, 4, 8]
    assert spread(9, 2, 3) == [0, 4, 8]
    assert spread(3, 2, 9) == [0, 2]


def test_a_sample_of_a_manifest(catalogue: Path, tmp_path: Path) -> None:
    whole = read_source(catalogue, SourceSettings(), tmp_path / "whole")
    sample = cut_sample(whole, tmp_path / "sample", rows_per_stretch=2, num_stretches=3)
    rows = [0, 1, 4, 5, 10, 11]
    assert len(sample) == 6
    for method in ("ids", "titles", "locations"):
        every = getattr(whole, method)(0, 12)
        assert getattr(sample, method)(0, 6) == [every[row] for row in rows]
    assert sample.roots == whole.roots
    assert sample.columns == whole.columns


def test_a_sample_of_tar_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard.tar", 9)
    whole = read_source(tmp_path / "shard.tar", SourceSettings(), tmp_path / "whole")
    sample = cut_sample(whole, tmp_path / "sample", rows_per_stretch=1, num_stretches=3)
    fetcher = Fetcher(sample.roots, FetchSettings())
    places = [place for place in sample.locations(0, 3) if place is not None]
    images = [Image.open(io.BytesIO(fetcher.read(place))) for place in places]
    assert [image.getpixel((0, 0)) for image in images] == [(0, 0, 0), (4, 0, 0), (8, 0, 0)]


def test_what_is_measured_on_is_bounded(tmp_path: Path) -> None:
    most = NUM_STRETCHES * ROWS_PER_STRETCH
    lines = "".join(f"item{row},thing {row}\n" for row in range(most + ROWS_PER_STRETCH + 1))
    (tmp_path / "titles.csv").write_text(f"id,title\n{lines}")
    settings = DoctorSettings(str(tmp_path / "titles.csv"))
    found = _read_catalogue(settings, [], tmp_path)
    assert len(found) == most - ROWS_PER_STRETCH + 1  # the last stretch has one row
