"""All that a head file says of itself, and what can be counted in it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from heads.head import load_head
from heads.info import HeadInfo


@dataclass(frozen=True)
class HeadDescription:
    """A head file: what it is, its size, how many numbers its tensors hold, and its hash."""

    path: Path
    info: HeadInfo
    num_bytes: int
    num_parameters: int
    fingerprint: str

    def as_json(self) -> dict[str, Any]:
        """One level of names for the file, then all that the head keeps."""
        return {
            "head": str(self.path),
            "output": self.info.output,
            "fingerprint": self.fingerprint,
            "num_bytes": self.num_bytes,
            "num_parameters": self.num_parameters,
            "num_classes": self.info.num_classes,
            **asdict(self.info),
        }


def describe_head(path: Path) -> HeadDescription:
    """Read a head file.

    Raises:
        HeadError: there is none, it is not a head of this format version, or it is damaged.
    """
    head = load_head(path)
    num_parameters = sum(tensor.numel() for tensor in head.network.state_dict().values())
    return HeadDescription(path, head.info, path.stat().st_size, num_parameters, head.fingerprint)
