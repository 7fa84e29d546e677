"""Every kind of module and precision: scores are those of the weights that made the features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.parametrizations import weight_norm

from tests.callbacks.test_untouched import assert_no_hooks
from tests.helpers import tiny
from tests.helpers.witness import Witness, null_energy, plain_features


class Frozen(tiny.Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.network[:-1].requires_grad_(False)


class WeightNormed(tiny.Classifier):
    def __init__(self) -> None:
        super().__init__()
        weight_norm(self.network[-1])


class Configured(tiny.Classifier):
    """The head that setup sees is not the one that is trained."""

    def configure_model(self) -> None:
        if self.network[-1].out_features == len(tiny.CLASSES):
            self.network[-1] = nn.Linear(16, len(tiny.CLASSES), bias=False)


class HeadlessUntilConfigured(tiny.Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.network.pop(-1)

    def configure_model(self) -> None:
        if len(self.network) == 6:
            self.network.append(nn.Linear(16, len(tiny.CLASSES)))


class Manual(tiny.Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()


class Adversarial(Manual):
    """A generator of images for each class, and the classifier that judges them."""

    def __init__(self) -> None:
        super().__init__()
        shape = (3, tiny.SIDE, tiny.SIDE)
        self.generator = nn.Sequential(
            nn.Linear(8, 3 * tiny.SIDE**2), nn.Sigmoid(), nn.Unflatten(1, shape)
        )

    def training_step(self, batch: Any, batch_idx: int) -> None:
        noise = torch.rand(len(batch[0]), 8)
        for optimizer, images in zip(
            self.optimizers(), (self.generator(noise), batch[0]), strict=True
        ):
            optimizer.zero_grad()
            self.manual_backward(cross_entropy(self(images), batch[1]))
            optimizer.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        parts = (self.generator, self.network)
        return [torch.optim.Adam(part.parameters(), 1e-3) for part in parts]


class HalfPrecision(tiny.Classifier):
    """Adam's default eps is 0 in float16: the first step gives NaN, with a monitor or without."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2, eps=1e-4)


class Mirrored(tiny.Classifier):
    """Averages the logits of an image and of its mirror image."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, labels = batch
        logits = (self(images) + self(images.flip(-1))) / 2
        self.log("val_accuracy", (logits.argmax(dim=1) == labels).float().mean())


def mirrored_features(module: Any, images: Tensor) -> Tensor:
    return (plain_features(module, images) + plain_features(module, images.flip(-1))) / 2


def compiled_network(backend: str = "eager", **options: Any) -> tiny.Classifier:
    model = tiny.Classifier()
    model.network = torch.compile(model.network, backend=backend, **options)
    return model


def compiled_head() -> tiny.Classifier:
    model = tiny.Classifier()
    model.network[-1] = torch.compile(model.network[-1], backend="eager")
    return model


def compiled_in_place() -> tiny.Classifier:
    model = tiny.Classifier()
    model.network.compile(backend="eager")
    return model


def compiled_module() -> Any:
    return torch.compile(tiny.Classifier(), backend="eager")


# What builds the module, the trainer's arguments, the callback's, and how close the scores are.
MODULES: dict[str, tuple[Callable[[], Any], dict[str, Any], dict[str, Any], float]] = {
    "frozen backbone": (Frozen, {}, {}, 1e-5),
    "weight-normed head": (WeightNormed, {}, {}, 1e-5),
    "head replaced in configure_model": (Configured, {}, {}, 1e-5),
    "head made in configure_model": (HeadlessUntilConfigured, {}, {}, 1e-5),
    "manual optimisation": (Manual, {}, {}, 1e-5),
    "two optimisers": (Adversarial, {}, {"head": "network.6"}, 1e-5),
    "compiled network": (
        lambda: compiled_network("aot_eager", fullgraph=True),
        {},
        {},
        1e-5,
    ),
    "compiled head": (compiled_head, {}, {}, 1e-5),
    "network compiled in place": (compiled_in_place, {}, {}, 1e-5),
    "compiled module": (compiled_module, {}, {}, 1e-5),
    "bf16-mixed": (tiny.Classifier, {"precision": "bf16-mixed"}, {}, 2e-2),
    "bf16-true": (tiny.Classifier, {"precision": "bf16-true"}, {}, 2e-2),
    "bf16-true with a probe of its own": (
        tiny.Classifier,
        {"precision": "bf16-true"},
        {"probe": tiny.loader(tiny.Blobs())},
        2e-2,
    ),
    "16-true": (HalfPrecision, {"precision": "16-true"}, {}, 2e-3),
    # Trainer(precision="16-mixed") alone falls back to bf16 on a CPU.
    "16-mixed": (tiny.Classifier, {"plugins": MixedPrecision("16-mixed", "cpu")}, {}, 2e-2),
    "64-true": (tiny.Classifier, {"precision": "64-true"}, {}, 1e-9),
}


@pytest.mark.parametrize("kind", MODULES)
def test_scores_are_those_of_the_module_that_is_validated(kind: str, tmp_path: Path) -> None:
    build, changes, arguments, tolerance = MODULES[kind]
    witness, module = Witness(), build()
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(**arguments), witness, **changes)
    trainer.fit(module, tiny.loader(tiny.Blobs(64, seed=1)), tiny.loader(tiny.Blobs()))
    steps = 2 if kind == "two optimisers" else 1
    assert witness.scored == [(0, 4 * steps), (1, 8 * steps)]
    assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=tolerance)
    assert witness.curve("head/rank") == [4, 4]
    assert_no_hooks(trainer.lightning_module)


@pytest.mark.parametrize("is_first", [True, False], ids=["averaging first", "monitor first"])
def test_scores_are_those_of_averaged_weights(is_first: bool, tmp_path: Path) -> None:
    """With a probe of the user's own too: the averaged weights are in place while it runs."""

    class Current(L.Callback):
        def __init__(self) -> None:
            self.energy: list[float] = []

        def on_validation_batch_start(
            self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
        ) -> None:
            weights = [each.detach().flatten() for each in pl_module.parameters()]
            self.validated = torch.cat(weights)

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            pl_module.eval()
            self.energy.append(null_energy(pl_module, tiny.Blobs().images))
            pl_module.train()

    for arguments in ({}, {"probe": tiny.loader(tiny.Blobs())}):
        witness, current = Witness(), Current()
        ours, averaging = tiny.quick_callback(**arguments), EMAWeightAveraging(decay=0.8)
        pair = (averaging, ours) if is_first else (ours, averaging)
        trainer = tiny.trainer(tmp_path, *pair, witness, current)
        model = tiny.Classifier()
        trainer.fit(model, tiny.loader(tiny.Blobs(64, seed=1)), tiny.loader(tiny.Blobs()))
        assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=1e-5)
        assert witness.true_energy != pytest.approx(current.energy, rel=1e-3)
        followed = ours._state.weights
        assert followed is not None
        assert torch.equal(followed["values"][-1], current.validated)
        assert_no_hooks(model)


def test_a_head_called_for_several_views_is_scored_by_the_mean_of_its_features(
    tmp_path: Path,
) -> None:
    witness = Witness(features=mirrored_features)
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), witness)
    with pytest.warns(UserWarning, match=r"called 2 times for each batch.*probe=") as caught:
        trainer.fit(Mirrored(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    assert sum("2 times" in str(warning.message) for warning in caught) == 1
    assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=1e-5)
    assert witness.curve("monitor/accuracy") == pytest.approx(witness.curve("val_accuracy"))


def test_a_head_that_is_called_again_on_the_same_images_counts_once(tmp_path: Path) -> None:
    class Twice(tiny.Classifier):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            self.log("val_accuracy", (self(batch[0]).argmax(dim=1) == batch[1]).float().mean())

    witness = Witness()
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), witness, max_epochs=1)
    data = tiny.loader(tiny.Blobs())
    trainer.fit(Twice(), data, data)
    assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=1e-5)


def test_compiled_code_of_an_earlier_run_does_not_hide_the_head(tmp_path: Path) -> None:
    torch.compiler.reset()  # as in a new process, whatever other tests have compiled
    model, data = compiled_network(), tiny.loader(tiny.Blobs())
    tiny.trainer(tmp_path).validate(model, data, verbose=False)
    witness = Witness()
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), witness)
    trainer.validate(model, data, verbose=False)
    assert witness.curve("head/null_energy") == pytest.approx(witness.true_energy, rel=1e-5)


def test_a_head_that_is_replaced_between_fits_is_found_anew(tmp_path: Path) -> None:
    model, callback = tiny.timm_classifier(), tiny.quick_callback()
    data = tiny.loader(tiny.Blobs())
    old = model.network.get_classifier()
    trainer = tiny.trainer(tmp_path, callback, max_epochs=1)
    trainer.fit(model, data, data)
    model.network.reset_classifier(len(tiny.CLASSES))
    new = model.network.get_classifier()
    assert new is not old
    in_training: list[bool] = []
    in_validation: list[bool] = []

    class Look(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            in_training.extend(bool(head._forward_pre_hooks) for head in (old, new))

        def on_validation_batch_start(self, *_: Any) -> None:
            in_validation.extend(bool(head._forward_pre_hooks) for head in (old, new))

    # The same trainer goes on, then a network of another width takes the old one's place.
    trainer.callbacks.append(Look())
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, data, data)
    assert in_training == [False, False]
    assert set(zip(in_validation[::2], in_validation[1::2], strict=True)) == {(False, True)}
    # Two random heads of 4 of 384 dimensions have almost nothing in common.
    assert trainer.callback_metrics["head/drift"] > 0.5
    model.network = tiny.Classifier().network
    trainer.fit_loop.max_epochs = 4
    trainer.fit(model, data, data)
    assert trainer.callback_metrics["sing/image_score"].isfinite()
    assert 0 < float(trainer.callback_metrics["head/drift"]) < 0.5
