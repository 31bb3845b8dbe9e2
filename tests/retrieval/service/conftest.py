"""A small demo store, made once for all workers, and real servers over it."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import pytest
import torch
from fastapi import FastAPI

from embed.cli import main as embed_main
from heads.cli import main as heads_main
from retrieval.cli import main as retrieval_main
from retrieval.service.app import create_app
from retrieval.service.guard import GuardSettings
from retrieval.service.server import address_of, bound, opened, server_of
from retrieval.service.service import Service
from retrieval.service.settings import ServiceSettings


@dataclass(frozen=True)
class Demo:
    """The files of the demo: 96 photos of 24 products, five spaces, two heads, a threshold."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store.h5"

    @property
    def head(self) -> Path:
        return self.folder / "head.safetensors"

    @property
    def attribute_head(self) -> Path:
        return self.folder / "attributes.safetensors"

    @property
    def threshold(self) -> Path:
        return self.folder / "threshold.json"

    @property
    def settings(self) -> ServiceSettings:
        return ServiceSettings(
            self.store, str(self.threshold), heads=(self.head, self.attribute_head)
        )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """To be read only: tests that write make a copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "service-demo"
    with (shared / "service-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of pytest-xdist wait for the first
        if not (folder / "ready").exists():
            folder.mkdir(exist_ok=True)
            _make(Demo(folder))
            (folder / "ready").touch()
    return Demo(folder)


def _make(demo: Demo) -> None:
    folder, store = demo.folder, demo.store
    small = ("--epochs", 3)
    run_command(embed_main, "demo-catalog", folder / "catalogue", "--products", 24, "--photos", 4)
    images = ("--image-encoder", "hog=classic:color-hog", "--image-encoder", "classic:phash")
    source = folder / "catalogue" / "manifest.csv"
    run_command(embed_main, "run", source, "-o", store, *images, "--text-encoder", "tfidf")
    spaces = ("--space", "hog", "--space", "tfidf")
    split = ("--target", "label", "--split", "60/20/20", "--dim", 32)
    run_command(heads_main, "train", store, "-o", demo.head, *spaces, *split, *small)
    run_command(heads_main, "apply", store, demo.head)
    # A logistic regression of all that the head takes in would take most of the time.
    targets = ("--target", "attr_1", "--target", "attr_3")
    kind = ("--kind", "attributes", *targets, "--linear-share", 0)
    run_command(
        heads_main, "train", store, "-o", demo.attribute_head, "--space", "hog", *kind, *small
    )
    tuned = ("--space", "head", "--label", "label", "-o", demo.threshold)
    run_command(retrieval_main, "tune-threshold", store, *tuned, "--include-training-rows")


def run_command(command: click.Command, *arguments: object) -> None:
    """A command of one of the packages, which leaves this process its threads."""
    threads = torch.get_num_threads()
    command.main([str(argument) for argument in arguments], standalone_mode=False)
    torch.set_num_threads(threads)


@contextmanager
def serving(settings: ServiceSettings, guard: GuardSettings | None = None) -> Iterator[str]:
    """The address of a real server, for as long as the block lasts."""
    with opened(settings) as service, running(create_app(service, guard)) as address:
        wait_for_encoders(service)
        yield address


def wait_for_encoders(service: Service) -> None:
    """Until all are loaded: queries are put off before."""
    service.snapshot.encoders.begin()
    while service.encoders.num_loading:
        time.sleep(0.01)


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of a server of this application, for as long as the block lasts."""
    with bound("127.0.0.1", 0) as listening:
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.005)
            yield address_of(listening).rstrip("/")
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def address(demo: Demo) -> Iterator[str]:
    """Where the demo store is served, with its threshold and heads; nothing there is changed."""
    with serving(demo.settings) as where:
        yield where


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as opened:
        yield opened
