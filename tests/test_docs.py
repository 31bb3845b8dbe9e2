"""What the README shows is true."""

import re
from pathlib import Path

import pytest

from embed.demo.catalog import DemoSettings, write_demo_catalog

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    # As many products as it takes for the 60/20/20 split to leave enough to cross-fit.
    write_demo_catalog(Path("demo/catalogue"), DemoSettings(num_products=40, num_photos=3))
    exec(compile(code, "README.md", "exec"), {})
    assert re.match(r"row F1 0\.\d+ at score -?0\.\d+", capsys.readouterr().out)


def test_pictures_are_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).resolve().parents[1] / path).is_file(), path
