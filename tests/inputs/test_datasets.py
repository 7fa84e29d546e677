from __future__ import annotations

import torch
from torch.utils.data import ConcatDataset, StackDataset, Subset, TensorDataset

from sing_monitor.inputs.datasets import wrapped_datasets

IMAGES, LABELS = torch.zeros(4, 3, 2, 2), torch.tensor([2, 0, 1, 2])


def test_wrapped_datasets() -> None:
    first, second = TensorDataset(IMAGES), TensorDataset(LABELS)
    assert wrapped_datasets(Subset(first, [0])) == (first,)
    assert wrapped_datasets(ConcatDataset([first, second])) == (first, second)
    assert wrapped_datasets(StackDataset(a=first, b=second)) == (first, second)
    assert wrapped_datasets(first) == wrapped_datasets(None) == ()
