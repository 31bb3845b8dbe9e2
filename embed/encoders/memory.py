"""Batches that do not fit in memory, taken in pieces that do."""

from collections.abc import Callable

import torch

from embed.errors import EncoderError

# How the CPU's allocator, cuBLAS and cuDNN say it; torch.OutOfMemoryError is the GPU's allocator.
OUT_OF_MEMORY_WORDS = ("can't allocate memory", "ALLOC_FAILED", "out of memory")


class Pieces:
    """Takes a batch whole until one does not fit, and from then on in pieces of half its size.

    `size` is the most items taken at once, None while everything fitted. It never grows again, so
    that later batches do not run into the same wall.
    """

    def __init__(self, subject: str, device: torch.device) -> None:
        self.size: int | None = None
        self._subject, self._device = subject, device

    def encode(self, forward: Callable[[slice], torch.Tensor], count: int) -> torch.Tensor:
        """What `forward` gives for the rows 0 to `count`, (count, d), however they were cut.

        Raises:
            EncoderError: a single row does not fit.
        """
        results: list[torch.Tensor] = []
        done = 0
        while done < count:
            piece = slice(done, min(done + (self.size or count), count))
            result = self._attempt(forward, piece)
            if result is None:
                self._halve(piece.stop - piece.start)
                continue
            results.append(result)
            done = piece.stop
        return results[0] if len(results) == 1 else torch.cat(results)

    def _attempt(
        self, forward: Callable[[slice], torch.Tensor], piece: slice
    ) -> torch.Tensor | None:
        """The piece's vectors, or None where memory did not suffice."""
        try:
            return forward(piece)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if piece.stop - piece.start == 1:
                raise EncoderError(
                    f"{self._subject}: a batch of 1 does not fit in the memory of {self._device} "
                    f"({reason}): free some, choose --precision bf16 or fp16, another --device, "
                    f"or a smaller model"
                ) from error
            # Returning lets go of the error, and so of the frames whose tensors fill the memory.
            return None

    def _halve(self, tried: int) -> None:
        self.size = max(1, tried // 2)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # the batches in flight give theirs back
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory was exhausted, on the GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in OUT_OF_MEMORY_WORDS
    )
