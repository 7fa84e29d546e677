from __future__ import annotations

import torch

from sing_monitor.inputs.plain_values import describe_value

LABELS = torch.tensor([2, 0, 1, 2])


def test_describe_is_short() -> None:
    assert describe_value([LABELS] * 20).count("Tensor int64 (4,)") == 8
    assert describe_value({"a": [LABELS]}) == "dict with ['a': list with [Tensor int64 (4,)]]"
