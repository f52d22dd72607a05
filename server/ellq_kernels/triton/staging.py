"""Host bytes to the device and back, through pinned memory: a pageable copy would wait for the driver's own staging."""

import threading

import torch

HALF_BYTES = 8 << 20
"""Large enough to pay for a copy's launch, small enough that filling one half hides behind the travel of the other."""


class Staging(threading.local):
    """Two pinned halves for each thread, made on first use: one is filled or emptied while the other travels."""

    def __init__(self) -> None:
        self._halves: list[torch.Tensor] = []
        self._travelled: list[torch.cuda.Event] = []

    def upload(self, host: torch.Tensor, device: torch.Tensor) -> None:
        """Copy bytes to the device. `host` may be freed on return. Shape: both (bytes,) uint8."""
        self._prepare()
        for index, start in enumerate(range(0, len(host), HALF_BYTES)):
            part = host[start : start + HALF_BYTES]
            half, travelled = self._halves[index % 2][: len(part)], self._travelled[index % 2]
            travelled.synchronize()
            half.copy_(part)
            device[start : start + len(part)].copy_(half, non_blocking=True)
            travelled.record()

    def download(self, device: torch.Tensor, host: torch.Tensor) -> None:
        """Copy bytes from the device; complete on return. Shape: both (bytes,) uint8."""
        self._prepare()
        starts = list(range(0, len(host), HALF_BYTES))
        for index in range(len(starts) + 1):  # the next part leaves before the last one is unpacked
            if index < len(starts):
                part = device[starts[index] : starts[index] + HALF_BYTES]
                self._travelled[index % 2].synchronize()
                self._halves[index % 2][: len(part)].copy_(part, non_blocking=True)
                self._travelled[index % 2].record()
            if index > 0:
                landing = host[starts[index - 1] : starts[index - 1] + HALF_BYTES]
                self._travelled[(index - 1) % 2].synchronize()
                landing.copy_(self._halves[(index - 1) % 2][: len(landing)])

    def _prepare(self) -> None:
        if not self._halves:
            self._halves = [torch.empty(HALF_BYTES, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
            self._travelled = [torch.cuda.Event() for _ in range(2)]
