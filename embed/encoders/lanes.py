"""The way of a batch to its device and of the vectors back, beside the device's own work."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch


class Lane:
    """To a device that computes while the caller waits: nothing has to be awaited."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def scope(self) -> AbstractContextManager[object]:
        """What has to be entered around all work on the device."""
        return nullcontext()

    def send(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch on the device."""
        return batch.to(self.device)

    def fetch(self, vectors: torch.Tensor) -> Callable[[], torch.Tensor]:
        """A call that waits for the vectors and returns them in the CPU's memory."""
        host = vectors.cpu()
        return lambda: host


class CudaLane(Lane):
    """To one GPU, which copies the next batch while it computes on this one.

    Uploads have a stream of their own. Both directions go through pinned memory, without which a
    copy would make the CPU wait; torch keeps it until the copies that use it are done.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        with self.scope():
            self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def scope(self) -> AbstractContextManager[object]:
        """This GPU as the current one: pinned memory, streams and events belong to the current."""
        return torch.cuda.device(self.device)

    def send(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch on the GPU, for work that is given to its current stream from now on."""
        compute = torch.cuda.current_stream(self.device)
        pinned = batch.pin_memory()
        with torch.cuda.stream(self._uploads):
            sent = pinned.to(self.device, non_blocking=True)
        compute.wait_stream(self._uploads)
        # It was allocated on the other stream, which may reuse its memory only after this one.
        sent.record_stream(compute)
        return sent

    def fetch(self, vectors: torch.Tensor) -> Callable[[], torch.Tensor]:
        """A call that waits for the vectors, whose copy is queued behind the work on them."""
        host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
        host.copy_(vectors, non_blocking=True)
        # Blocking: a thread that waits must leave the processor to those that decode.
        copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        copied.record(torch.cuda.current_stream(self.device))

        def wait() -> torch.Tensor:
            copied.synchronize()
            return host

        return wait


def lane_to(device: torch.device) -> Lane:
    """The lane that suits the device."""
    return CudaLane(device) if device.type == "cuda" else Lane(device)
