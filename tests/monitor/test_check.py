"""SINGCallback.check says what would be used, and changes nothing."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from sing_monitor import analyze
from sing_monitor.inputs.batches import Batch
from tests.callbacks.setups.test_wrong_setups import Cosine
from tests.helpers import tiny


def test_the_report_names_everything_that_would_be_used(caplog: pytest.LogCaptureFixture) -> None:
    report = tiny.callback(probe_size=30).check(tiny.Classifier(), tiny.loader(tiny.Blobs()))
    for part in (
        "network.6  Linear  4 x 16",
        "network.2 (16, 5 x 5)",
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


class ByHand(tiny.Blobs):
    """Normalised in code of its own, with ImageNet's statistics, from black to white."""

    def __getitem__(self, index: int) -> Any:
        image, label = super().__getitem__(index)
        image = image.clone()
        image[:, 0, 0], image[:, 0, 1] = 0.0, 1.0
        mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in IMAGENET)
        return (image - mean) / std, label


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_guess_is_announced_with_its_picture() -> None:
    model = timm.create_model("resnet10t", num_classes=4)
    with pytest.warns(UserWarning, match="is a guess") as caught:
        report = tiny.callback().check(model, tiny.loader(ByHand()))
    (warning,) = [str(each.message) for each in caught if "is a guess" in str(each.message)]
    assert "pixel_stats=(mean, std)" in warning
    with Image.open(warning.rsplit(": ", 1)[1]) as file:
        picture = pil_to_tensor(file)
    torch.testing.assert_close(picture / 255, report.image, atol=1 / 255, rtol=0)
    assert "a guess: timm's default_cfg; mean 0.485 0.456 0.406" in str(report)
    assert "become pixels from 0.00 to 1.00" in str(report)


def test_what_is_found_is_no_guess(recwarn: pytest.WarningsRecorder) -> None:
    tiny.callback(pixel_stats=IMAGENET).check(tiny.Classifier(), tiny.loader(ByHand()))
    assert not [each for each in recwarn if "guess" in str(each.message)]


@pytest.mark.parametrize(
    "options",
    [
        {"class_names": list("abcd")},
        {"class_names": {name: index for index, name in enumerate("abcd")}},
        {"concepts": ["red", "blue"]},
        {"concepts": {"red": "a red thing", "blue": ["a blue thing", "something blue"]}},
        {"prompt": ["a {}", "the {}"]},
        {"attribute_prompts": {"half": "an image of a {}"}},
        {"pixel_stats": [0.0, 1.0]},
        {"pixel_stats": [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]},
    ],
)
def test_options_as_hydra_hands_them_over(options: dict[str, Any], tmp_path: Path) -> None:
    def adapter(batch: Any) -> Batch:
        return Batch(batch[0], batch[1], {"half": (batch[1] // 2, HALVES)})

    data, found = tiny.loader(tiny.Blobs()), []
    for given in (options, dict(OmegaConf.create(options).items())):
        analyzed = analyze(
            tiny.Classifier(), data, tiny.HashSpace(), cache_dir=None, ridge=1.0,
            batch_adapter=adapter, **{"concepts": ["red"], **given},
        )  # fmt: skip
        found.append(json.dumps(analyzed.config))
    assert found[0] == found[1]
    callback = tiny.callback(**dict(OmegaConf.create(options).items()), batch_adapter=adapter)
    logger = tiny.mlflow_logger(tmp_path)
    tiny.trainer(tmp_path, callback, logger=logger, max_epochs=1).fit(tiny.Classifier(), data, data)
    (path,) = tmp_path.rglob("sing/config.json")
    config = json.loads(path.read_text())
    wanted = json.loads(found[0])
    for key in (
        "class_names",
        "prompt",
        "concepts",
        "concept_prompts",
        "attribute_prompts",
        "pixels",
    ):
        if key in options or key not in ("concepts", "concept_prompts"):
            assert config[key] == wanted[key], key


HALVES = OmegaConf.create(["animal", "thing"])
