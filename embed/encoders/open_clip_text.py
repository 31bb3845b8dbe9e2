"""OpenCLIP's text towers on no more positions than their titles need.

A causal tower that pools at the end-of-text reads nothing of the padding behind it, so the padding
can be cut off: exactly, and most of 77 positions with it.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from open_clip.model import CLIP
from open_clip.transformer import TextTransformer


class _EncodeText(torch.nn.Module):
    """`encode_text` as a forward, whose buffers `functional_call` can replace."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.model.encode_text(text)
        return vectors


class CutText:
    """A model's text tower, which runs on the tokens that it is given and no more.

    What the tower is like is found out here, once, while it lies on the CPU: reading its mask on a
    GPU would wait for all the work that is queued there.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._encode = model, _EncodeText(model)
        self._tower = _tower_of(model)
        self._pooling = _pooling_of(self._tower) if self._tower else None
        self._prefix = "model." if self._tower is model else "model.text."

    def num_needed(self, text: Int[torch.Tensor, "b context"]) -> Int[np.ndarray, " b"]:
        """The positions that each title's vector depends on: up to its end-of-text, or all.

        `text` lies on the CPU.
        """
        if self._pooling == "argmax":
            ends = text.argmax(dim=1)
        elif self._pooling == "eos":
            # The library takes the first one and, where there is none, position 0.
            ends = (text == _end_token(self._tower)).int().argmax(dim=1)
        else:
            return np.full(len(text), text.shape[1])
        return np.asarray(ends.numpy() + 1)

    def encode(self, text: Int[torch.Tensor, "b tokens"]) -> torch.Tensor:
        """The library's own `encode_text`, with its positions and mask cut to the tokens given."""
        tower, num_tokens = self._tower, text.shape[1]
        if tower is None or num_tokens == len(tower.positional_embedding):
            vectors: torch.Tensor = self._model.encode_text(text)
            return vectors
        shortened = {
            f"{self._prefix}positional_embedding": tower.positional_embedding[:num_tokens],
            f"{self._prefix}attn_mask": tower.attn_mask[:num_tokens, :num_tokens],
        }
        result: torch.Tensor = torch.func.functional_call(self._encode, shortened, (text,))
        return result


def _tower_of(model: Any) -> Any:
    """The module with the text tower's parts where it is causal and its layout is known, or None.

    CoCa appends a class token and pools there; towers of the transformers library are not causal.
    """
    tower: Any = model if type(model) is CLIP else getattr(model, "text", None)
    known = (CLIP, TextTransformer)
    if type(tower) not in known or getattr(tower, "cls_emb", None) is not None:
        return None
    return tower if _is_causal(tower.attn_mask) and _pooling_of(tower) else None


def _is_causal(mask: torch.Tensor | None) -> bool:
    if mask is None:
        return False
    return bool((mask.isneginf() == torch.ones_like(mask).triu(1).bool()).all())


def _pooling_of(tower: Any) -> str | None:
    """`argmax` (the highest token, which is the end-of-text) or `eos`; None for any other."""
    pooling = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    return pooling if pooling in ("argmax", "eos") else None


def _end_token(tower: Any) -> int:
    return int(tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id)
