"""Once all images are known nothing waits for the device, and no image is lost unsaid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from sing_monitor.capture.probe import ProbeRows, probe_threshold
from sing_monitor.errors import SetupError
from sing_monitor.extra_pass.collect import collect_probe
from sing_monitor.head.weak_hook import WeakHook
from sing_monitor.inputs.batches import Batch
from sing_monitor.monitor.model_capture import ModelCapture
from sing_monitor.offline.analyze import analyze
from tests.helpers import tiny
from tests.helpers.devices import DEVICES
from tests.helpers.disturbed import At, assert_same_weights, fit
from tests.helpers.waiting import Waits, pretended_gpu
from tests.helpers.witness import Witness, null_energy

STATS = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.2))


def halves(batch: Any) -> Batch:
    images, labels = batch
    return Batch(images, labels, {"half": (labels // 2, ("animal", "thing"))}, group=labels + 10)


class Normalised(tiny.Blobs):
    """As most images are, with statistics for each channel."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(index)
        mean, std = (torch.tensor(numbers).reshape(-1, 1, 1) for numbers in STATS)
        return (image - mean) / std, label


class Passes:
    """Passes of a plain module over its own images, without a trainer."""

    def __init__(
        self, data: tiny.Blobs, probe_size: int = 10_000, *, shuffle: bool = False
    ) -> None:
        self.data = data
        self.adapter: Callable[[Any], Batch] = halves
        self.model = tiny.Classifier().network
        settings = tiny.quick_callback(
            probe_size=probe_size,
            pixel_stats=STATS,
            batch_adapter=lambda batch: self.adapter(batch),
        ).options
        self.watch = ModelCapture(settings, tiny.HashSpace(), None)
        self.threshold = probe_threshold(len(data), probe_size)
        self._loader = tiny.loader(data, shuffle=shuffle)

    def start(self) -> None:
        self.watch.start(self.model, self._loader, threshold=self.threshold, images=len(self.data))

    def run(self) -> ProbeRows | None:
        self.start()
        collect_probe(
            self.watch, self.model, self._loader, forward=lambda batch: self.model(batch[0])
        )
        return self.watch.finish()

    def rows(self) -> ProbeRows:
        rows = self.run()
        assert rows is not None
        return rows


# What waits


READS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).any()),
    "int": lambda x: int(x.max()),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "equal": lambda x: torch.equal(x, x + 1),
}
COPIES: dict[str, Callable[[Tensor], object]] = {
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu", non_blocking=True),
    "constant": lambda x: x * torch.tensor([1, 2, 3], device=x.device),
    "index": lambda x: x[torch.tensor([0, 1])],
}


@pytest.mark.parametrize("wait", READS | COPIES)
def test_whatever_waits_is_seen(wait: str) -> None:
    with pretended_gpu(), Waits() as waits:
        x = torch.arange(3, device="cuda")
        (x * 2 + 1).clamp(max=3).cumsum(0)
        assert waits.seen == []
        if wait in COPIES:
            COPIES[wait](x)
        else:
            with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
                READS[wait](x)
        assert waits.seen


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("probe_size", [10_000, 20])
def test_a_pass_over_known_images_never_waits_for_a_gpu(probe_size: int, shuffle: bool) -> None:
    """On tensors without numbers, so that what needs one cannot go unnoticed."""
    passes = Passes(Normalised(), probe_size, shuffle=shuffle)
    assert len(passes.rows()) == min(probe_size, 48)
    passes.rows()
    head, watch = passes.model[-1], passes.watch

    @torch.inference_mode()
    def batch(size: int) -> None:
        images = torch.rand(size, 3, tiny.SIDE, tiny.SIDE, device="cuda")
        labels = torch.zeros(size, dtype=torch.int64, device="cuda")
        watch.read((images, labels))
        watch.open()
        head(torch.rand(size, 16, device="cuda"))
        head(torch.rand(size, 16, device="cuda"))
        watch.add((images, labels))

    with pretended_gpu():
        for name, parameter in list(head.named_parameters()):
            setattr(head, name, nn.Parameter(torch.empty_like(parameter, device="cuda")))
        passes.start()
        with Waits() as waits:
            batch(16)
            # Constants are brought to the device once.
            assert set(waits.seen) == {"_to_copy"}
            waits.seen.clear()
            batch(16)
            batch(7)
            assert waits.seen == []
            with pytest.raises(DataDependentOutputException):
                watch.finish()
        # The pass has not come to its end, so the next looks at pixels.
        passes.start()
        with Waits() as waits, pytest.raises(DataDependentOutputException):
            batch(16)
        assert waits.seen[0] == "to"


class Guard:
    """Around the callback's hooks: what waits there, a list for each validation.

    On a GPU, what waits once all images are known is an error.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, callback: L.Callback, device: str) -> None:
        self.seen: list[list[str]] = []
        self._device = device
        for name in ("on_validation_batch_start", "on_validation_batch_end"):
            monkeypatch.setattr(callback, name, self._guarded(getattr(callback, name)))
        # Those on the head, too.
        monkeypatch.setattr(WeakHook, "__call__", self._guarded(WeakHook.__call__))
        start = callback.on_validation_start

        def count(*arguments: Any) -> None:
            self.seen.append([])
            start(*arguments)

        monkeypatch.setattr(callback, "on_validation_start", count)

    def _guarded(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._watched():
                return hook(*args, **kwargs)

        return call

    @contextmanager
    def _watched(self) -> Iterator[None]:
        # The sanity check and two validations come before.
        must_not_wait = self._device == "cuda" and len(self.seen) > 3
        if must_not_wait:
            torch.cuda.set_sync_debug_mode("error")
        try:
            with Waits() as waits:
                yield
            self.seen[-1] += waits.seen
        finally:
            if must_not_wait:
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("probe_size", [10_000, 20])
def test_no_hook_waits_once_all_images_are_known(
    probe_size: int, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU the images are read too, as long as they are looked at."""
    options = {"probe_size": probe_size, "batch_adapter": halves, "pixel_stats": STATS}
    callback = tiny.callback(**options, n_maps=64)
    guard, witness = Guard(monkeypatch, callback, device), Witness()
    trainer = tiny.trainer(tmp_path, callback, accelerator=device, devices=1, max_epochs=4)
    again: dict[str, float] = {}

    class Again(L.Callback):
        """The last validation once more, by a monitor that sees the images for the first time."""

        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 3:
                found = analyze(
                    pl_module,
                    tiny.loader(Normalised()),
                    tiny.HashSpace(),
                    concepts=["red", "striped"],
                    probe_size=probe_size,
                    pixel_stats=STATS,
                    batch_adapter=halves,
                    ridge=float(trainer.callback_metrics["translator/ridge"]),
                    cache_dir=None,
                )
                again.update(found.scalars)

    trainer.callbacks += [witness, Again()]
    trainer.fit(tiny.Classifier(), tiny.loader(Normalised(seed=1)), tiny.loader(Normalised()))
    assert [bool(waits) for waits in guard.seen] == [True, True, True, False, False]
    logged = witness.logged[-1]
    assert len(set(witness.curve("monitor/samples"))) == 1
    compared = again.keys() - {"head/drift", "hierarchy/tree_change", "similarity/drift"}
    assert len(compared) > 40
    rounding = 0 if device == "cpu" else 1e-4
    for key in compared:
        expected = pytest.approx(again[key], rel=rounding, abs=rounding, nan_ok=True)
        assert logged[key] == expected, key


# What is missing


def change(data: tiny.Blobs, rows: int) -> Callable[[], object]:
    """Other pixels for so many images, still of their class."""

    def do() -> None:
        data.images[:rows] = data.images[:rows].flip(-1) * 0.8

    return do


def test_images_that_are_new_are_counted_once_and_known_afterwards(tmp_path: Path) -> None:
    data, true_energy = tiny.Blobs(), []

    class Known(L.Callback):
        """The truth about the images that have not changed."""

        def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            true_energy.append(null_energy(pl_module, data.images[5:]))

    witness = Witness()
    at = At(epoch_3=change(data, 5), epoch_6=change(data, 48), epoch_10=change(data, 2))
    watched = fit(
        tmp_path,
        tiny.quick_callback(on_error="warn", alerts=None),
        at,
        Known(),
        witness,
        validation=data,
        max_epochs=12,
    )
    few, all_, *rest = watched.warnings
    assert rest == []
    assert "scores of epoch 3 leave out: 5" in few
    assert "no scores for epoch 6" in all_
    assert "all are new" in all_
    samples, skipped = witness.curve("monitor/samples"), witness.curve("monitor/skipped")
    assert samples[:6] + samples[7:] == [48, 48, 48, 43, 48, 48, 48, 48, 48, 46, 48]
    assert skipped == [0, 0, 0, 5, 0, 0, 48, 0, 0, 0, 2, 0]
    # One for the sanity check, before the first.
    assert witness.logged[3]["head/null_energy"] == pytest.approx(true_energy[4], rel=1e-5)
    assert_same_weights(watched, fit(tmp_path, at, validation=data, max_epochs=12))


def test_more_images_of_the_probe_than_before_are_counted() -> None:
    passes = Passes(Normalised(200))
    passes.threshold = probe_threshold(200, 10) // 5
    known = passes.rows()
    assert 0 < len(known) < 30
    passes.rows()
    # Copies of one image that belongs to the probe.
    passes.data.images[:] = passes.data.images[int(known.sample_index[0])].clone()
    some = passes.rows()
    assert 0 < len(some) < 200
    assert passes.watch.account.missing == 200 - len(some)
    everything = passes.rows()
    assert (len(everything), passes.watch.account.missing) == (200, 0)
    again = passes.rows()
    assert (len(again), passes.watch.account.missing) == (200, 0)
    assert torch.equal(again.features, everything.features)
    assert torch.equal(again.embeddings, everything.embeddings)


def test_a_pass_that_failed_does_not_count_as_known(tmp_path: Path) -> None:
    """Its first batch alone leaves no place for the images of a whole pass."""

    class Stumbles(tiny.Classifier):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += not self.training and self.trainer.current_epoch == 2
            if self.calls == 2:
                raise RuntimeError("out of memory")
            return super().forward(images)

    witness = Witness()
    callback = tiny.quick_callback(probe=tiny.loader(tiny.Blobs(400)), on_error="warn")
    trainer = tiny.trainer(tmp_path, callback, witness, max_epochs=4)
    with pytest.warns(UserWarning, match="epoch 2: out of memory"):
        trainer.fit(Stumbles(), tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs()))
    assert witness.curve("monitor/skipped") == [0, 0, 400, 0]
    assert witness.curve("monitor/samples")[3] == 400


@pytest.mark.parametrize(
    ("label", "sentence"), [(4, "a label of the validation data is 4"), (-2, "is -2")]
)
def test_a_label_of_a_later_batch_is_checked_when_the_pass_ends(label: int, sentence: str) -> None:
    passes = Passes(Normalised())
    passes.data.labels[40] = label
    with pytest.raises(SetupError, match=f"(?i){sentence}"):
        passes.run()


@pytest.mark.parametrize(
    ("half", "sentence"),
    [
        (lambda labels: (labels, ("animal", "thing")), "'half' has indices from 0 to 3"),
        (lambda labels: (labels // 2, ("thing", "animal")), "every batch must carry the same"),
    ],
)
def test_attributes_of_a_later_batch_are_checked(
    half: Callable[[Tensor], Any], sentence: str
) -> None:
    passes = Passes(Normalised())
    seen: list[int] = []

    def adapter(batch: Any) -> Batch:
        seen.append(len(batch[0]))
        given = {"half": half(batch[1])} if len(seen) == 2 else halves(batch).attributes
        return replace(halves(batch), attributes=given)

    passes.adapter = adapter
    with pytest.raises(SetupError, match=sentence):
        passes.run()
