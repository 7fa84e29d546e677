"""Validate one fixed double-precision model on N processes and write what rank 0 logged.

Run by the tests: ``python -m tests.callbacks.validate_in_processes <processes> <folder>``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from tests.callbacks import tiny


class DoubleBlobs(tiny.Blobs):
    """Blobs in double precision, so that the size of a batch leaves no rounding."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(index)
        return image.double(), label


def main() -> None:
    """Only rank 0 writes; every rank must have logged the same."""
    processes, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    trainer = tiny.trainer(
        folder,
        tiny.callback(),
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        logger=False,
    )
    model = tiny.Classifier().double()
    # 47 images: the ranks' shares are uneven, and the sampler repeats one image.
    results = trainer.validate(model, tiny.loader(DoubleBlobs(47), batch_size=8), verbose=False)
    everyone: list[dict[str, float] | None] = [None] * processes
    if processes > 1:
        torch.distributed.all_gather_object(everyone, results[0])
    else:
        everyone = [results[0]]
    if trainer.is_global_zero:
        (folder / "results.json").write_text(json.dumps(everyone))


if __name__ == "__main__":
    main()
