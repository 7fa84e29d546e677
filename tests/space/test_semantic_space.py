"""The semantic space: open_clip's own numbers, real loading, and errors that help."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from open_clip.pretrained import _PRETRAINED
from open_clip.transform import image_transform
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.functional import to_tensor

from sing_monitor.space.resize import resize_and_crop
from sing_monitor.space.semantic_space import OpenClipSpace, SemanticSpace, resolve_space

MODEL = "sing-tiny-test"
SIZE = 32
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
TEXTS = ["an image of a dog", "a red car", "something made of wood"]


@pytest.fixture(scope="module", autouse=True)
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Register a model that open_clip then builds like any other."""
    vision = {"image_size": SIZE, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path = tmp_path_factory.mktemp("configs") / f"{MODEL}.json"
    path.write_text(json.dumps({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)


@pytest.fixture(scope="module")
def checkpoint(tiny_config: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_file(open_clip.create_model(MODEL).state_dict(), path)
    return path


def space_of(checkpoint: Path, **changes: Any) -> OpenClipSpace:
    """A space built by hand, as for one's own open_clip model."""
    model = open_clip.create_model(MODEL)
    model.load_state_dict(load_file(checkpoint))
    arguments: dict[str, Any] = {"image_size": SIZE, "mean": MEAN, "std": STD, **changes}
    return OpenClipSpace(model, open_clip.get_tokenizer(MODEL), **arguments)


def pil_image(height: int, width: int, seed: int = 0) -> Image.Image:
    """Noise, which shows every difference in resampling, of middling values, which never clip."""
    noise = np.random.default_rng(seed).integers(64, 192, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def batch_of(*images: Image.Image) -> Tensor:
    return torch.stack([to_tensor(image) for image in images])


@pytest.mark.parametrize("shape", [(50, 70), (70, 50), (20, 24), (32, 32), (97, 40)])
@pytest.mark.parametrize(
    ("size", "mode", "interpolation"),
    [
        ((32, 32), "shortest", "bicubic"),
        ((32, 32), "shortest", "bilinear"),
        ((32, 24), "shortest", "bicubic"),
        ((32, 32), "longest", "bicubic"),
        ((32, 24), "squash", "bilinear"),
    ],
)
def test_resizing_equals_open_clips_own(
    shape: tuple[int, int], size: tuple[int, int], mode: str, interpolation: str
) -> None:
    image = pil_image(*shape)
    transform = image_transform(size, False, resize_mode=mode, interpolation=interpolation)
    transform.transforms.pop()  # the normalisation
    expected = transform(image)
    seen = resize_and_crop(batch_of(image), size, mode=mode, interpolation=interpolation)[0]
    assert seen.shape == expected.shape == (3, *size)
    # PIL rounds to 8 bits after each of its two passes.
    assert (seen - expected).abs().max() <= 1.5 / 255


def test_crop_stays_in_the_unit_interval_where_bicubic_overshoots() -> None:
    edge = torch.zeros(1, 3, 64, 64)
    edge[..., 32:] = 1
    seen = resize_and_crop(edge, (48, 48))
    assert seen.min() == 0
    assert seen.max() == 1


def test_embeddings_equal_open_clips_own(checkpoint: Path) -> None:
    space = space_of(checkpoint)
    model = open_clip.create_model(MODEL, pretrained=str(checkpoint)).eval()
    image = pil_image(SIZE, SIZE)
    with torch.no_grad():
        pixels = image_transform(SIZE, False)(image).unsqueeze(0)
        expected_image = model.encode_image(pixels)
        expected_texts = model.encode_text(open_clip.get_tokenizer(MODEL)(TEXTS))
    torch.testing.assert_close(space.encode_images(batch_of(image)), expected_image)
    torch.testing.assert_close(space.encode_texts(TEXTS), expected_texts)
    assert not torch.allclose(expected_image.norm(), torch.ones(()), atol=0.05)  # hence: raw


def test_embeddings_of_a_resized_image_are_close_to_open_clips_own(checkpoint: Path) -> None:
    space = space_of(checkpoint)
    model = open_clip.create_model(MODEL, pretrained=str(checkpoint)).eval()
    image = pil_image(80, 60)
    with torch.no_grad():
        expected = model.encode_image(image_transform(SIZE, False)(image).unsqueeze(0))
    seen = space.encode_images(batch_of(image))
    assert torch.cosine_similarity(seen, expected).item() > 0.9999


def test_embeddings_do_not_depend_on_the_batch(checkpoint: Path) -> None:
    space = space_of(checkpoint)
    images = torch.rand(300, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    sizes = []
    space._model.visual.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    together = space.encode_images(images)
    assert sizes == [256, 44]
    alone = torch.cat([space.encode_images(images[i : i + 1]) for i in (0, 255, 256, 299)])
    torch.testing.assert_close(together[[0, 255, 256, 299]], alone, atol=1e-5, rtol=1e-5)
    assert space.encode_images(images[:0]).shape == (0, 24)
    assert space.encode_texts([]).shape == (0, 24)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_callers_autocast_does_not_reach_the_embeddings(
    checkpoint: Path, dtype: torch.dtype
) -> None:
    space = space_of(checkpoint)
    images = batch_of(pil_image(SIZE, SIZE))
    plain = space.encode_images(images), space.encode_texts(TEXTS)
    with torch.autocast("cpu", dtype=dtype):
        inside = space.encode_images(images), space.encode_texts(TEXTS)
    for seen, expected in zip(inside, plain, strict=True):
        assert seen.dtype == torch.float32
        assert torch.equal(seen, expected)


def test_gradients_modes_and_random_numbers_are_left_alone(checkpoint: Path) -> None:
    space = space_of(checkpoint)
    images = batch_of(pil_image(40, 40)).requires_grad_()
    before = torch.get_rng_state()
    embeddings = space.encode_images(images)
    assert torch.equal(torch.get_rng_state(), before)
    assert not embeddings.requires_grad
    assert not any(module.training for module in space._model.modules())
    assert not any(parameter.requires_grad for parameter in space._model.parameters())


def test_a_half_precision_model_works_on_a_cpu(checkpoint: Path) -> None:
    model = open_clip.create_model(MODEL, precision="bf16")
    space = OpenClipSpace(model, open_clip.get_tokenizer(MODEL), SIZE, MEAN, STD)
    assert space.encode_images(torch.rand(2, 3, SIZE, SIZE)).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_model_follows_the_images_to_the_gpu_and_back(checkpoint: Path) -> None:
    space = space_of(checkpoint)
    images = batch_of(pil_image(SIZE, SIZE))
    expected = space.encode_images(images)
    on_gpu = space.encode_images(images.cuda())
    assert on_gpu.device.type == "cuda"
    assert on_gpu.dtype == torch.float32
    torch.testing.assert_close(on_gpu.cpu(), expected, atol=1e-2, rtol=1e-2)
    assert space.encode_texts(TEXTS).device.type == "cpu"
    assert torch.equal(space.encode_images(images), expected)


def test_a_space_satisfies_the_protocol_and_resolves_to_itself(checkpoint: Path) -> None:
    space = space_of(checkpoint)
    assert isinstance(space, SemanticSpace)
    assert resolve_space(space) is space
    assert space.dim == 24


def test_a_local_checkpoint_gives_the_source_models_embeddings(checkpoint: Path) -> None:
    source = space_of(checkpoint)
    images = batch_of(pil_image(50, 40))
    for loaded in (
        OpenClipSpace.pretrained(MODEL, str(checkpoint)),
        resolve_space(f"{MODEL}/{checkpoint}"),
    ):
        assert torch.equal(loaded.encode_images(images), source.encode_images(images))
        assert torch.equal(loaded.encode_texts(TEXTS), source.encode_texts(TEXTS))
        label, digest = loaded.name.split("@")
        assert label == f"{MODEL}/tiny.safetensors"
        assert len(digest) == 8
        assert int(digest, 16) >= 0


def test_the_config_beside_a_checkpoint_tells_its_preprocessing(
    checkpoint: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "open_clip_model.safetensors"
    copied.write_bytes(checkpoint.read_bytes())
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    config = {"model_cfg": {"quick_gelu": False}, "preprocess_cfg": preprocessing}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    images = batch_of(pil_image(50, 40))
    expected = space_of(checkpoint, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash")
    loaded = OpenClipSpace.pretrained(MODEL, str(copied))
    assert torch.equal(loaded.encode_images(images), expected.encode_images(images))


def test_a_model_whose_tags_agree_lends_a_local_file_their_preprocessing(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = {"hf_hub": "nobody/nothing/", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    monkeypatch.setitem(_PRETRAINED, MODEL, {"one": tag, "two": {**tag, "hf_hub": "a/b/"}})
    expected = space_of(checkpoint, mean=(0.5,) * 3, std=(0.5,) * 3)
    images = batch_of(pil_image(50, 40))
    loaded = OpenClipSpace.pretrained(MODEL, str(checkpoint))
    assert torch.equal(loaded.encode_images(images), expected.encode_images(images))


def test_loading_leaves_the_root_logger_alone(checkpoint: Path) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers.clear()
    try:
        OpenClipSpace.pretrained(MODEL, str(checkpoint))
        assert root.handlers == []
    finally:
        root.handlers[:] = before


def test_the_name_tells_weights_preprocessing_and_tokens_apart(checkpoint: Path) -> None:
    torch.manual_seed(1)
    other_weights = OpenClipSpace(
        open_clip.create_model(MODEL), open_clip.get_tokenizer(MODEL), SIZE, MEAN, STD
    )
    upper = OpenClipSpace(
        space_of(checkpoint)._model,
        lambda texts: open_clip.get_tokenizer(MODEL)([f"{text}!" for text in texts]),
        SIZE,
        MEAN,
        STD,
    )
    names = [
        space_of(checkpoint).name,
        space_of(checkpoint, mean=(0.5, 0.5, 0.5)).name,
        space_of(checkpoint, resize_mode="squash").name,
        other_weights.name,
        upper.name,
    ]
    assert len(set(names)) == len(names)
    assert all(name.startswith("open_clip@") for name in names)
    assert space_of(checkpoint).name == names[0]
    named = space_of(checkpoint, name="mine").name
    assert named == f"mine@{names[0].removeprefix('open_clip@')}"


class Hub:
    """A server with the few answers of a model hub that a download needs."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, with_body: bool) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                content = files.get(self.path)
                if content is None:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("X-Repo-Commit", "0" * 40)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("ETag", '"an-etag"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if with_body:
                    self.wfile.write(content)

            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    constants = huggingface_hub.constants
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    entry = {"hf_hub": "someone/tiny/", "mean": MEAN, "std": STD, "quick_gelu": True}
    monkeypatch.setitem(_PRETRAINED, MODEL, {"a_tag": entry})


@pytest.fixture
def hub(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    path = "/someone/tiny/resolve/main/open_clip_pytorch_model.bin"
    torch.save(load_file(checkpoint), tmp_path / "weights.bin")
    server = Hub({path: (tmp_path / "weights.bin").read_bytes()})
    use_hub(monkeypatch, server.address, tmp_path / "hub")
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_first_download_says_its_size_and_a_second_load_needs_no_network(
    checkpoint: Path, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    images = batch_of(pil_image(SIZE, SIZE))
    # The tag's weights were trained with QuickGELU, which the model's own config does not say.
    model = open_clip.create_model(MODEL, pretrained=str(checkpoint), force_quick_gelu=True)
    source = OpenClipSpace(model, open_clip.get_tokenizer(MODEL), SIZE, MEAN, STD)

    loaded = OpenClipSpace.pretrained(MODEL, "a-tag")
    assert loaded.name == f"{MODEL}/a_tag"
    assert torch.equal(loaded.encode_images(images), source.encode_images(images))
    said = [record.getMessage() for record in caplog.records if "Downloading" in record.message]
    size = checkpoint.stat().st_size / 1e6
    assert len(said) == 1
    assert f"{MODEL}/a-tag: {size:,.0f} MB" in said[0]
    assert any("open_clip_model.safetensors" in request for request in hub.requests)

    hub.requests.clear()
    caplog.clear()
    again = OpenClipSpace.pretrained(MODEL, "a_tag")
    assert torch.equal(again.encode_images(images), source.encode_images(images))
    assert hub.requests == []
    # open_clip tells the root logger of each step; another test may have lowered its level.
    ours = [record for record in caplog.records if record.name != "root"]
    assert ours == []


def check_ways_out(message: str, *parts: str) -> None:
    for part in (*parts, "OpenClipSpace.pretrained(", 'space="', "encode_images", "encode_texts"):
        assert part in message
    assert "\n" not in message


def test_without_network_the_error_is_quick_and_shows_two_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path)  # nothing listens there
    start = time.monotonic()
    with pytest.raises(RuntimeError) as caught:
        resolve_space(f"{MODEL}/a_tag")
    assert time.monotonic() - start < 10  # the hub client's own retries take 47 seconds
    check_ways_out(str(caught.value), MODEL, "a_tag", "refused")
    assert caught.value.__cause__ is not None


def test_a_repository_without_weights_says_what_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Hub({})
    use_hub(monkeypatch, empty.address, tmp_path)
    try:
        with pytest.raises(RuntimeError) as caught:
            OpenClipSpace.pretrained(MODEL, "a_tag")
    finally:
        empty.server.shutdown()
        empty.server.server_close()
    check_ways_out(str(caught.value), "someone/tiny holds none", "open_clip_model.safetensors")


@pytest.mark.parametrize("kind", ["missing", "corrupt", "truncated", "other model"])
def test_a_file_that_cannot_be_loaded_shows_two_ways_out(
    checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "weights.safetensors"
    if kind == "corrupt":
        path.write_bytes(b"not a checkpoint at all")
    elif kind == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:-1000])
    elif kind == "other model":
        save_file({"visual.conv1.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(RuntimeError) as caught:
        resolve_space(f"{MODEL}/{path}")
    check_ways_out(str(caught.value), MODEL, str(path))
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize(
    ("model", "tag", "parts"),
    [
        ("ViT-B-33", "laion2b_s34b_b79k", ["ViT-B-33", "no such model", "ViT-B-32"]),
        ("ViT-B-32", "laion2b_s34b", ["laion2b_s34b'", "no such tag", "laion2b_s34b_b79k"]),
        ("sing-tiny-test", "openai", ["no such tag", "it has none"]),
    ],
)
def test_unknown_names_are_told_with_those_that_come_near(
    model: str, tag: str, parts: list[str]
) -> None:
    with pytest.raises(ValueError, match="No weights") as caught:
        OpenClipSpace.pretrained(model, tag)
    check_ways_out(str(caught.value), *parts)


@pytest.mark.parametrize("text", ["", "ViT-B-32", "/laion2b_s34b_b79k", "ViT-B-32/"])
def test_a_malformed_space_shows_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form") as caught:
        resolve_space(text)
    assert str(caught.value).count('"') >= 8
    assert repr(text) in str(caught.value)


class Complete:
    name = "mine"
    dim = 4

    def encode_images(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))

    def encode_texts(self, texts: list[str]) -> Tensor:
        return torch.zeros(len(texts), 4)


def test_any_object_with_the_four_parts_is_a_space() -> None:
    space = Complete()
    assert resolve_space(space) is space


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": ""}, r"\.name must be a text"),
        ({"name": 3}, r"\.name must be a text"),
        ({"dim": "4"}, r"\.dim must be a positive int"),
        ({"dim": 0}, r"\.dim must be a positive int"),
        ({"encode_texts": None}, r"\.encode_texts cannot be called"),
    ],
)
def test_a_space_with_a_wrong_part_is_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        resolve_space(type("Mine", (Complete,), changes)())


def test_a_raw_model_is_refused_with_the_parts_it_lacks(checkpoint: Path) -> None:
    model: Any = open_clip.create_model(MODEL)
    with pytest.raises(TypeError, match=r"name, dim, encode_images, encode_texts.*OpenClipSpace\("):
        resolve_space(model)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"image_size": 0}, "image_size"),
        ({"image_size": (32, 32, 3)}, "image_size"),
        ({"mean": (0.5,)}, "mean needs three"),
        ({"std": (0.5, 0.5, 0.0)}, "std must be positive"),
        ({"interpolation": "nearest"}, "'nearest' is not one of bicubic, bilinear"),
        ({"resize_mode": "crop"}, "'crop' is not one of"),
    ],
)
def test_wrong_preprocessing_is_refused(
    checkpoint: Path, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        space_of(checkpoint, **changes)


def test_wrong_models_and_tokenizers_are_refused(checkpoint: Path) -> None:
    with pytest.raises(TypeError, match="Linear without encode_image"):
        OpenClipSpace(nn.Linear(2, 2), open_clip.get_tokenizer(MODEL), SIZE, MEAN, STD)
    tokenizer: Any = "words"
    with pytest.raises(TypeError, match="tokenizer is a str"):
        OpenClipSpace(open_clip.create_model(MODEL), tokenizer, SIZE, MEAN, STD)


@pytest.mark.parametrize(
    ("images", "error", "match"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError, "images / 255"),
        (torch.zeros(3, 8, 8), ValueError, r"expected \(B, 3, H, W\)"),
        (torch.zeros(1, 1, 8, 8), ValueError, r"expected \(B, 3, H, W\)"),
        (torch.full((1, 3, 8, 8), -2.1), ValueError, "Undo their normalization"),
        (torch.full((1, 3, 8, 8), torch.nan), ValueError, r"\[nan, nan\]"),
    ],
)
def test_wrong_images_are_refused(
    checkpoint: Path, images: Tensor, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        space_of(checkpoint).encode_images(images)
