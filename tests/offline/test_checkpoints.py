"""Checkpoint files: what is read, what finds its place, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sing_monitor.offline.checkpoints import (
    Checkpoint,
    find_checkpoints,
    load_weights,
    read_checkpoint,
    timm_model,
)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


class Custom:
    """Anything that is no plain value."""


def test_checkpoints_are_found_below_a_folder_by_name(tmp_path: Path) -> None:
    for name in ("b/model_best.pth.tar", "a.ckpt", "b/x.safetensors", "notes.txt", ".hidden.ckpt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    names = [path.relative_to(tmp_path).as_posix() for path in find_checkpoints(tmp_path)]
    assert names == ["a.ckpt", "b/model_best.pth.tar", "b/x.safetensors"]
    assert find_checkpoints(tmp_path / "a.ckpt") == [tmp_path / "a.ckpt"]
    with pytest.raises(ValueError, match=r"holds no checkpoint; .* \.safetensors"):
        find_checkpoints(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "epoch", "step", "architecture"),
    [
        ("a.ckpt", {"state_dict": {}, "epoch": 3, "global_step": 40}, 3, 40, None),
        ("last.pth.tar", {"state_dict": {}, "epoch": 7, "arch": "resnet18"}, 7, None, "resnet18"),
        ("epoch=2-step=9.ckpt", {"model_state_dict": {}}, 2, 9, None),
        ("checkpoint-12.pth.tar", {"model": {}}, 12, None, None),
        ("weights_only.pt", {}, None, None, None),
    ],
)
def test_a_file_tells_its_epoch_or_its_name_does(
    tmp_path: Path,
    name: str,
    content: dict[str, Any],
    epoch: int | None,
    step: int | None,
    architecture: str | None,
) -> None:
    state = network().state_dict()
    filled = {key: state if value == {} else value for key, value in content.items()} or state
    torch.save(filled, tmp_path / name)
    found = read_checkpoint(tmp_path / name)
    assert (found.epoch, found.step, found.architecture) == (epoch, step, architecture)
    assert found.state.keys() == state.keys()


def test_safetensors_and_the_old_format_of_torch_are_read(tmp_path: Path) -> None:
    state = network().state_dict()
    save_file(state, tmp_path / "epoch_4.safetensors")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "epoch_4.safetensors").epoch == 4
    for name in ("epoch_4.safetensors", "old.pt"):
        found = read_checkpoint(tmp_path / name)
        assert all(torch.equal(found.state[key], value) for key, value in state.items())


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averaged_weights_are_read_unless_the_others_are_asked_for(
    tmp_path: Path, key: str
) -> None:
    trained, averaged = network(1).state_dict(), network(2).state_dict()
    # torchvision's scripts save an AveragedModel, which wraps and counts.
    wrapped = below("module.", averaged) | {"n_averaged": torch.tensor(3)}
    torch.save({"model": trained, key: wrapped}, tmp_path / "both.pth")
    torch.save({"model": trained, key: None}, tmp_path / "none.pth")
    for name, use_ema, expected in (
        ("both.pth", True, averaged),
        ("both.pth", False, trained),
        ("none.pth", True, trained),
    ):
        found, model = read_checkpoint(tmp_path / name, use_ema=use_ema), network()
        assert found.is_averaged == (expected is averaged)
        load_weights(model, found)
        assert all(torch.equal(model.state_dict()[each], expected[each]) for each in expected)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "net.inner."])
def test_weights_find_their_place_below_wrappers_and_wholes(tmp_path: Path, prefix: str) -> None:
    state = below(prefix, network(1).state_dict()) | {"loss.weight": torch.ones(2)}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    model = network(2)
    load_weights(model, read_checkpoint(tmp_path / "a.ckpt"))
    expected = network(1).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_parts_that_fit_equally_well_are_not_guessed_among() -> None:
    state = network().state_dict()
    twice = below("student.", state) | below("teacher.", state)
    with pytest.raises(ValueError, match="several parts that fit Sequential: student, teacher"):
        load_weights(network(), Checkpoint(Path("a.ckpt"), twice))


def test_weights_of_another_model_are_refused() -> None:
    state = network().state_dict()
    fewer = {name: value for name, value in state.items() if name != "2.bias"}
    with pytest.raises(ValueError, match=r"does not fit Sequential: it lacks 2\.bias, and holds"):
        load_weights(network(), Checkpoint(Path("a.ckpt"), fewer))
    with pytest.raises(ValueError, match=r"size mismatch for 2\.bias"):
        load_weights(network(), Checkpoint(Path("a.ckpt"), {**state, "2.bias": torch.ones(9)}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {"w": torch.ones(1)}, "hparams": Custom()}, r"holds a \S+\.Custom"),
        ([1, 2], "holds a list; expected weights by name"),
        ({"epoch": 3}, "holds no weights.*epoch"),
    ],
)
def test_what_holds_no_weights_or_could_run_code_is_refused(
    tmp_path: Path, content: Any, said: str
) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=said):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, name: str) -> None:
    save = save_file if name.endswith("safetensors") else torch.save
    save(network().state_dict(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in (0, 10, len(whole) // 2):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cannot be read|no readable checkpoint"):
            read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["hf-hub:someone/model", "hf_hub:someone/model", "local-dir:/tmp", "timm/resnet18", ""]
)
def test_only_architectures_that_timm_registers_are_built_for_a_file(
    tmp_path: Path, name: str
) -> None:
    torch.save({"state_dict": network().state_dict(), "arch": name}, tmp_path / "a.pth.tar")
    checkpoint = read_checkpoint(tmp_path / "a.pth.tar")
    with pytest.raises(ValueError, match="which timm does not register"):
        timm_model(checkpoint)


@pytest.mark.parametrize("name", ["resnet18.nobody", "resnet18.a:b", "resnet18.a/../b"])
def test_names_that_timm_knows_in_part_are_refused_in_a_sentence(name: str) -> None:
    checkpoint = Checkpoint(Path("a.pth"), network().state_dict(), architecture=name)
    with pytest.raises(ValueError, match=r"timm cannot build|does not register|does not fit"):
        timm_model(checkpoint)


def test_weights_that_cannot_be_copied_are_refused() -> None:
    state = network().state_dict()
    odd = {**state, "2.bias": torch.ones(2).to_sparse(), "0.bias": torch.ones(4, device="meta")}
    with pytest.raises(ValueError, match="does not fit Sequential"):
        load_weights(network(), Checkpoint(Path("a.ckpt"), odd))


def test_names_that_are_no_text_are_no_weights(tmp_path: Path) -> None:
    torch.save({1: torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="holds no weights"):
        read_checkpoint(tmp_path / "a.pt")


def test_a_damaged_file_is_refused_in_a_sentence_whatever_it_breaks(tmp_path: Path) -> None:
    random = Random(16)
    path = tmp_path / "a.ckpt"
    for is_new in (True, False):
        torch.save(
            {"state_dict": network().state_dict(), "epoch": 1},
            path,
            _use_new_zipfile_serialization=is_new,
        )
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(random.choice((1, 3, 20))):
                damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
            path.write_bytes(damaged[: random.choice((len(whole), len(whole) // 2))])
            # Some damage is in the weights, and cannot be seen.
            with suppress(ValueError):
                read_checkpoint(path)
