"""Decisions for tests, with scores that are of no account."""

from pathlib import Path

from retrieval.decisions.journal import Journal, new_id, now_utc
from retrieval.decisions.records import Decision, Verdict


def decision(first: str, second: str, verdict: Verdict = "same", by: str = "ada") -> Decision:
    scores, fingerprints = {"image": 0.5}, {"image": "dense-1"}
    return Decision(new_id(), now_utc(), by, first, second, verdict, 0.5, scores, fingerprints, 0.6)


def write_decisions(path: Path, *made: tuple[str, str, Verdict]) -> Path:
    journal = Journal(path)
    for first, second, verdict in made:
        journal.append(decision(first, second, verdict))
    return path
