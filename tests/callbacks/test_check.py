"""SINGCallback.check says what would be used, and changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

from tests.callbacks import tiny
from tests.callbacks.test_wrong_setups import Cosine


def test_the_report_names_everything_that_would_be_used(caplog: pytest.LogCaptureFixture) -> None:
    report = tiny.callback(probe_size=30).check(tiny.Classifier(), tiny.loader(tiny.Blobs()))
    for part in (
        "network.6  Linear  4 x 16",
        "12 of 16 dimensions",
        "hash-space (10 dimensions)",
        "values already in [0, 1]",
        "cat, dog, ship, tree",
        '"an image of a cat"',
        "30 of 48 validation images",
        "once; none for cached images",
        "about 1 seconds and 0.0 GB each validation",
    ):
        assert part in str(report), part
    assert str(report) in caplog.text


def test_the_image_is_the_one_the_space_will_see(clip_space: str) -> None:
    class Normalised(tiny.Blobs):
        transform = v2.Normalize([0.5, 0.4, 0.3], [0.2, 0.2, 0.2])

        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return self.transform(image), label

    callback = tiny.callback(space=clip_space)
    report = callback.check(tiny.Classifier(), tiny.loader(Normalised()))
    assert "Normalize in the validation transforms" in str(report)
    assert report.image.shape == (3, 16, 16)
    original = tiny.Blobs().images[0]
    assert torch.allclose(report.image.mean((1, 2)), original.mean((1, 2)), atol=0.02)
    assert report.save_image().is_file()


def test_model_and_generators_stay_as_they_are() -> None:
    model = tiny.Classifier()
    model.train()
    model.network[1].eval()
    weights, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    state = torch.get_rng_state()
    tiny.callback().check(model, tiny.loader(tiny.Blobs(), shuffle=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_plain_module_can_be_checked() -> None:
    report = tiny.callback().check(tiny.timm_classifier().network, tiny.loader(tiny.Blobs()))
    assert "null space" in str(report)


def test_classes_that_nothing_names_are_said_to_be_numbers() -> None:
    blobs = tiny.Blobs()
    report = tiny.callback().check(
        tiny.Classifier(), tiny.loader(TensorDataset(blobs.images, blobs.labels))
    )
    assert "4 without names: 0, 1, 2, 3" in str(report)
    assert "none: scores refer to class prototypes" in str(report)


def test_errors_are_those_of_the_sanity_check() -> None:
    with pytest.raises(MisconfigurationException, match="C=4"):
        tiny.callback(class_names=["one"]).check(tiny.Classifier(), tiny.loader(tiny.Blobs()))
    with pytest.raises(MisconfigurationException, match=r"does not compute W f \+ b"):
        tiny.callback().check(Cosine(), tiny.loader(tiny.Blobs()))
