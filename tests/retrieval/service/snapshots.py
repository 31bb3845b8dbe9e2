"""Snapshots of stores without a server around them."""

from dataclasses import replace
from pathlib import Path

from embed.store import Store
from retrieval.service.encoders import EncoderPool
from retrieval.service.service import Snapshot
from retrieval.service.settings import ServiceSettings
from retrieval.thresholds.files import load, save
from retrieval.thresholds.match_rules import MatchRule


def opened_snapshot(settings: ServiceSettings) -> Snapshot:
    """A store as a service would serve it."""
    return Snapshot(settings, EncoderPool("cpu"))


def with_rule(settings: ServiceSettings, folder: Path, rule: MatchRule) -> ServiceSettings:
    """The same service with another rule in its threshold file, and decisions in this folder."""
    path = folder / "threshold.json"
    with Store(settings.store) as store:
        fingerprints = {space: store.space(space).fingerprint for space in rule.spaces}
    rule = replace(rule, fingerprints=fingerprints)
    save(replace(load(Path(settings.threshold or "")), rule=rule), path)
    decisions = folder / "decisions.jsonl"
    return replace(settings, threshold=str(path), decisions=decisions)
