from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sing_monitor.head.forward import run_head


class Noisy(nn.Module):
    """Draws numbers in every mode; calls its head a number of times."""

    def __init__(self, head: nn.Module | None = None, calls: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Dropout())
        self.frozen = nn.BatchNorm1d(5).eval()
        self.fc = head or nn.Linear(5, 3)
        self.calls = calls

    def forward(self, images: Tensor) -> Tensor:
        torch.rand(2)
        features = self.frozen(self.body(images))
        return sum((self.fc(features) for _ in range(self.calls)), torch.zeros(()))


def test_features_and_logits_are_those_of_the_evaluated_model() -> None:
    torch.manual_seed(0)
    model, images = Noisy(), torch.rand(4, 3, 2, 2)
    seen = run_head(model, images)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(seen.logits, model(images))
        torch.testing.assert_close(seen.features, model.frozen(model.body(images)))
    assert torch.equal(seen.weight, model.fc.weight)
    assert seen.bias is not None
    assert not seen.features.requires_grad


def test_the_model_and_the_generators_are_left_as_they_were() -> None:
    model = Noisy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    run_head(model, torch.rand(4, 3, 2, 2, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.body.training
    assert not model.frozen.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not model.fc._forward_hooks


def test_modes_return_when_the_model_fails() -> None:
    model = Noisy()
    with pytest.raises(RuntimeError, match="shapes"):
        run_head(model, torch.rand(4, 3, 5, 5))
    assert model.body.training
    assert not model.fc._forward_hooks


@pytest.mark.parametrize(("calls", "words"), [(0, "'fc' was not called"), (2, "called 2 times")])
def test_a_head_that_is_not_called_once_is_refused(calls: int, words: str) -> None:
    model = Noisy(calls=calls)
    with pytest.raises(ValueError, match=words):
        run_head(model, torch.rand(4, 3, 2, 2))


def test_a_head_that_does_more_than_multiply_is_refused() -> None:
    class Scaled(nn.Linear):
        def forward(self, features: Tensor) -> Tensor:
            return 2 * super().forward(features)

    model = Noisy(Scaled(5, 3))
    with pytest.raises(ValueError, match=r"does not compute W f \+ b"):
        run_head(model, torch.rand(4, 3, 2, 2))
