"""Event files that TensorBoard draws: the curves of a run while it goes on, and its settings."""

from pathlib import Path
from typing import Any

from embed.errors import SettingsError
from heads.info import HeadInfo, flattened
from heads.training.loop import Epoch


class EventLog:
    """Takes the epochs of one run as event files in `folder`, on disk after each of them.

    The first epoch that it is told of hides the former ones of this number and later: a run that
    goes on continues its curve, and one that starts anew replaces it.

    Raises:
        SettingsError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, info: HeadInfo) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SettingsError(
                "--tensorboard needs the package tensorboard: pip install tensorboard"
            ) from error
        self._make_writer = SummaryWriter
        self._writer: SummaryWriter | None = None
        self._folder, self._info = folder, info

    def __call__(self, epoch: Epoch) -> None:
        """Write the loss, every metric and the learning rate of an epoch."""
        if self._writer is None:
            self._writer = self._make_writer(str(self._folder), purge_step=epoch.epoch)
            self._write_settings(epoch)
        scalars = {"loss": epoch.loss, **epoch.metrics, "learning_rate": epoch.learning_rate}
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _write_settings(self, epoch: Epoch) -> None:
        """As a text, and as hyperparameters, by which TensorBoard compares runs."""
        from torch.utils.tensorboard import summary

        assert self._writer is not None
        # Torch gives no types for these.
        protocols: Any = summary
        file_writer: Any = self._writer.file_writer
        info = self._info
        settings = {
            "kind": info.kind,
            "spaces": " + ".join(space.name for space in info.spaces),
            "targets": ", ".join(info.targets),
            **flattened({**info.settings, **info.training}),
        }
        lines = [f"| {name} | {value} |" for name, value in settings.items()]
        table = "\n".join(["| setting | value |", "| --- | --- |", *lines])
        self._writer.add_text("settings", table, epoch.epoch)
        values = {name: _scalar(value) for name, value in settings.items()}
        for protocol in protocols.hparams(values, dict.fromkeys(epoch.metrics, 0.0)):
            file_writer.add_summary(protocol)


def _scalar(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
