"""Everything that there is to choose of a projection head."""

from dataclasses import dataclass, field
from typing import Literal

from embed.errors import SettingsError
from heads.projection.bodies import BodySettings
from heads.projection.loss_settings import LossSettings

Start = Literal["auto", "discriminants", "random"]
STARTS: tuple[Start, ...] = ("auto", "discriminants", "random")


@dataclass(frozen=True)
class ProjectionSettings:
    """The network, what it learns by, and where it starts.

    `start` is linear discriminants of the training rows or random weights; auto: discriminants for
    a linear body, as long as there are not too many features or too few rows.
    """

    body: BodySettings = field(default_factory=BodySettings)
    loss: LossSettings = field(default_factory=LossSettings)
    start: Start = "auto"

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise SettingsError(f"--start is {' or '.join(STARTS)}: found '{self.start}'")
        if self.start == "discriminants" and self.body.body != "linear":
            raise SettingsError(
                f"--start discriminants is a linear map, for --body linear: found "
                f"--body {self.body.body}; leave --start out"
            )

    @property
    def wants_discriminants(self) -> bool:
        """Whether the map starts at linear discriminants, if there can be some."""
        return self.start == "discriminants" or (
            self.start == "auto" and self.body.body == "linear"
        )
