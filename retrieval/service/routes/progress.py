"""Answers of what takes long: not ready yet, and how far it is."""

from pydantic import BaseModel

WAIT_SECONDS = 0.25
"""How long an answer waits for what is nearly there, rather than to be asked again."""


class Progress(BaseModel):
    """Whether the rest of the answer is there; `progress` is the share that is done."""

    ready: bool
    progress: float
