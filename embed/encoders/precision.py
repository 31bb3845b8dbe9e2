"""The precision that `auto` means on a CPU with bf16 units: probed, for each encoder by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from embed.encoders.runtime import Runtime

# What has to hold on a catalogue's own images and titles is .999, and the probes are not they.
LEAST_PROBE_COSINE = 0.9995


def settle(
    runtime: Runtime, module: torch.nn.Module, encode: Callable[[Runtime], torch.Tensor]
) -> Runtime:
    """The runtime in one precision: bf16 where the module's vectors of the probes stay near fp32's.

    `encode` gives the probes' vectors, (n, d), by the module as it is placed for that runtime. It
    is left as it was. Equal models settle on equal precisions on equal machines, so the precision
    can be a part of the fingerprint.
    """
    if not runtime.or_bf16:
        return runtime
    full, half = (replace(runtime, precision=name, or_bf16=False) for name in ("fp32", "bf16"))
    with _restored(module):
        full.place(module)
        expected = encode(full).double()
        half.place(module)
        found = encode(half).double()
    cosines = torch.nn.functional.cosine_similarity(expected, found, dim=1)
    # A vector that is not finite compares as false, and so means fp32.
    return half if bool((cosines >= LEAST_PROBE_COSINE).all()) else full


@contextmanager
def _restored(module: torch.nn.Module) -> Iterator[None]:
    """Every parameter and buffer as it was: what was cast to bf16 has lost its lower bits."""
    parameters = [(parameter, parameter.data) for parameter in module.parameters()]
    buffers = [
        (owner, name, buffer)
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for parameter, data in parameters:
            parameter.data = data
        for owner, name, buffer in buffers:
            setattr(owner, name, buffer)
