"""The probe: which validation images are scored, and what is kept of each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from sing_monitor.capture.pass_maps import PassMaps
from sing_monitor.errors import Option, SetupError
from sing_monitor.inputs.pixel_scale import PixelScale
from sing_monitor.messages import duration, info, may_speak
from sing_monitor.snapshot import hex_id
from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.fingerprints import fingerprint, mix64, to_uint8, word_sums
from sing_monitor.space.semantic_space import SemanticSpace

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

    from sing_monitor.capture.stages.pass_stages import PassStages

THUMBNAIL = 64
CHUNK = 256
_HASHES = 2**63 - 1
_VALUES = 2**18  # of images that are read together


def probe_threshold(images: int | None, probe_size: int) -> int:
    """The largest hash of an image that may belong to the probe, before any image was seen.

    Content decides, not position: the choice does not depend on order, shuffling or rank, and is
    the same every epoch. The probe is the ``probe_size`` images of smallest hash; this bound spares
    the embedding of images that are hardly among them.

    Args:
        images: how many will be seen; None where that is not known.
        probe_size: the most that are scored.
    """
    # The images below a bound vary by the square root of their number.
    likely = probe_size + 6 * math.ceil(math.sqrt(probe_size)) + 10
    return _HASHES if images is None or images <= likely else int(likely / images * _HASHES)


def hashes(image_ids: Tensor) -> Tensor:
    """What decides which images belong to the probe, (B,) int64 from 0; small ones do.

    The lowest bit of an id is left to choose the fold.
    """
    return (image_ids >> 1) & _HASHES


def in_probe(image_ids: Tensor, threshold: int) -> Tensor:
    """Which images belong to the probe, (B,) bool."""
    return hashes(image_ids) <= threshold


@dataclass(frozen=True)
class Account:
    """What became of the images of a pass that have no row in the probe.

    Args:
        seen: how many images came, repeated ones included.
        missing: how many belong to the probe and could not be used.
        unlabeled: how many have no class, and are left out.
        filtered: of these, how many the head has not seen.
        lost_batches: how many batches could not be used.
        lost_reason: why, for the first of them.
        disorder: why positions in the data set are not known; empty where they are.
    """

    seen: int = 0
    missing: int = 0
    unlabeled: int = 0
    filtered: int = 0
    lost_batches: int = 0
    lost_reason: SetupError | None = None
    disorder: str = ""

    def spelled(self, spell: Callable[[Option], str]) -> Account:
        """With the options in its reason as the users of an adapter write them."""
        if self.lost_reason is None:
            return self
        return replace(self, lost_reason=SetupError(self.lost_reason.spelled(spell)))

    @classmethod
    def joined(cls, parts: Sequence[Account]) -> Account:
        """That of all ranks."""
        return cls(
            sum(part.seen for part in parts),
            sum(part.missing for part in parts),
            sum(part.unlabeled for part in parts),
            sum(part.filtered for part in parts),
            sum(part.lost_batches for part in parts),
            next((part.lost_reason for part in parts if part.lost_reason), None),
            next((part.disorder for part in parts if part.disorder), ""),
        )


@dataclass(frozen=True)
class ProbeRows:
    """What is kept of some images of the probe, on the CPU.

    Args:
        image_ids: content fingerprints, (B,).
        labels: (B,).
        features: (B, m).
        embeddings: (B, n).
        sample_index: positions in the data set, (B,); -1 where they are not known.
        attributes: value indices (B,) and names of the values, by attribute.
        threshold: all images whose hash is at most this large have a row.
        groups: numbers of the groups, (B,) int64; None where the batches tell none.
        maps: feature maps of some of the images, of each process.
        stages: features of earlier layers of some of the images, of each process.
    """

    image_ids: Tensor
    labels: Tensor
    features: Tensor
    embeddings: Tensor
    sample_index: Tensor
    attributes: Mapping[str, tuple[Tensor, tuple[str, ...]]] = field(default_factory=dict)
    threshold: int = _HASHES
    groups: Tensor | None = None
    maps: tuple[PassMaps, ...] = ()
    stages: tuple[PassStages, ...] = ()

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, rows: Tensor) -> ProbeRows:
        """Some of the rows, by their numbers (R,)."""
        return ProbeRows(
            self.image_ids[rows],
            self.labels[rows],
            self.features[rows],
            self.embeddings[rows],
            self.sample_index[rows],
            {name: (values[rows], names) for name, (values, names) in self.attributes.items()},
            self.threshold,
            None if self.groups is None else self.groups[rows],
            self.maps,
            self.stages,
        )

    @classmethod
    def joined(cls, parts: Sequence[ProbeRows], size: int) -> ProbeRows:
        """At most ``size`` rows, sorted by image id and position: order and rank leave no trace.

        An image that comes again counts once. Where the positions of all images are known, one at
        another position is a true copy, which counts; where they are not, the same image with the
        same label, group and attributes is taken for the same one.

        Raises:
            SetupError: if only some parts have groups.
        """

        def column(name: str) -> Tensor:
            return _cat([getattr(part, name) for part in parts])

        positions = column("sample_index")
        if bool((positions < 0).any()):
            positions = torch.full_like(positions, -1)
        everything = cls(
            column("image_ids"),
            column("labels"),
            column("features"),
            column("embeddings"),
            positions,
            {
                name: (_cat([part.attributes[name][0] for part in parts]), values)
                for name, (_, values) in parts[0].attributes.items()
            },
            min(part.threshold for part in parts),
            _joined_groups(parts),
            tuple(maps for part in parts for maps in part.maps),
            tuple(stages for part in parts for stages in part.stages),
        )
        rows = everything._distinct()
        kept = rows[in_probe(everything.image_ids[rows], everything.threshold)]
        threshold = everything.threshold
        if len(kept) > size:
            kept_hashes = hashes(everything.image_ids[kept])
            smallest = kept_hashes.argsort(stable=True)[:size]
            threshold = int(kept_hashes[smallest[-1]])
            kept = kept[smallest.sort().values]
        return replace(everything[kept], threshold=threshold)

    def _distinct(self) -> Tensor:
        """Numbers of the rows, those that repeat another left out, sorted."""
        values = [values for values, _ in self.attributes.values()]
        groups = [] if self.groups is None else [self.groups]
        keys = [self.image_ids, self.sample_index, self.labels, *groups, *values]
        order = torch.arange(len(self))
        for key in reversed(keys):
            order = order[key[order].argsort(stable=True)]
        is_repeated = torch.stack([key[order].diff() == 0 for key in keys]).all(dim=0)
        is_first = torch.cat([torch.ones(min(1, len(order)), dtype=torch.bool), ~is_repeated])
        return order[is_first]


def _joined_groups(parts: Sequence[ProbeRows]) -> Tensor | None:
    known = [part.groups for part in parts if part.groups is not None]
    if known and len(known) < len(parts):
        raise SetupError(
            f"the batches of {len(known)} of {len(parts)} processes tell the group of each image; "
            "those of all processes must tell it, or none."
        )
    return _cat(known) if known else None


def _cat(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


class ProbeEmbedder:
    """Embeds each image once, and keeps a small picture of it.

    Args:
        space: the semantic space.
        cache: where embeddings are kept.
        thumbnails: whether to keep pictures, until :meth:`keep_no_pictures` is called.
    """

    def __init__(self, space: SemanticSpace, cache: EmbeddingCache, *, thumbnails: bool) -> None:
        self.thumbnails: dict[int, Tensor] = {}
        self.unknown = 0
        self._broken = 0
        self._space = space
        self._cache = cache
        self._keep_thumbnails = thumbnails
        self._expected: int | None = None
        self._encoded = 0
        self._seconds = 0.0
        self._bar: tqdm[None] | None = None

    def start_pass(self, expected: int | None) -> None:
        """Count anew how many images had to be embedded; ``expected`` are to come, if known."""
        self.unknown, self._broken, self._expected = 0, 0, expected

    def embed(self, image_ids: Tensor, pixels: Tensor) -> Tensor:
        """Embeddings of images, from the cache or from the space.

        Args:
            image_ids: (B,) int64 on the CPU.
            pixels: (B, 3, H, W) in [0, 1].

        Returns:
            (B, n) float32 on the CPU.

        Raises:
            ValueError: if the space gives NaN or infinite embeddings.
        """
        embeddings, known = self._cache.lookup(image_ids)
        if self._keep_thumbnails:
            self._keep(image_ids, pixels)
        if bool(known.all()):
            return embeddings
        missing = (~known).nonzero().flatten()
        for rows in missing.split(CHUNK):
            self._start_bar()
            started = time.perf_counter()
            shown = pixels[rows.to(pixels.device)]
            found = self._space.encode_images(shown).float().cpu()
            self._seconds += time.perf_counter() - started
            self._encoded += len(rows)
            if not bool(found.isfinite().all()):
                raise ValueError(
                    f"the semantic space {self._space.name!r} gave NaN or infinite embeddings for "
                    f"{int((~found.isfinite().all(dim=1)).sum())} images."
                )
            embeddings[rows] = found
            self._cache.add(image_ids[rows], found)
            self._announce()
            self.unknown += len(rows)
            self._broken += int(shown.isnan().flatten(1).any(1).sum())
            if self._bar is not None:
                self._bar.update(len(rows))
        return embeddings

    def recall(self, image_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, n) of images that were embedded before, and which were, (B,) bool."""
        return self._cache.lookup(image_ids)

    def pictures(self, wanted: Sequence[int]) -> dict[str, np.ndarray]:
        """The thumbnails that this rank has, by image id in 16 hexadecimal digits."""
        return {
            hex_id(key): self.thumbnails[key].numpy() for key in wanted if key in self.thumbnails
        }

    def keep_no_pictures(self) -> None:
        """Forget all pictures, and keep none from now on."""
        self.thumbnails.clear()
        self._keep_thumbnails = False

    def end_pass(self) -> None:
        """Close the progress bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    @property
    def others(self) -> int:
        """How many images were not embedded before, but for those that are not finite.

        Those may be images of before that went wrong on their way.
        """
        return self.unknown - self._broken

    @property
    def seconds_per_image(self) -> float | None:
        """Measured cost of embedding one image; None before the first."""
        return self._seconds / self._encoded if self._encoded else None

    def _announce(self) -> None:
        """Say, after the first chunk of a pass, how long a long embedding will take."""
        if self._expected is None:
            return
        remaining = (self.seconds_per_image or 0.0) * (self._expected - CHUNK)
        if self.unknown == 0 and remaining > 10:
            info(
                f"embedding about {self._expected:,} validation images in "
                f"{self._space.name} takes about {duration(remaining)}, once; later epochs and "
                "runs find them in the cache."
            )

    def _start_bar(self) -> None:
        from tqdm.auto import tqdm

        if self._bar is None and self._space.dim and may_speak():
            self._bar = tqdm(
                total=self._expected, desc="SING: embedding images", unit="image", leave=False
            )

    def _keep(self, image_ids: Tensor, pixels: Tensor) -> None:
        new = [i for i, key in enumerate(image_ids.tolist()) if key not in self.thumbnails]
        if new:
            for row, picture in zip(new, thumbnails(pixels[new]), strict=True):
                self.thumbnails[int(image_ids[row])] = picture


def fingerprints_of(inputs: Tensor, scale: PixelScale) -> Tensor:
    """Content fingerprints of the images in a model's input (B, c, H, W), (B,) on its device.

    On the CPU a few images at a time, whose pixels stay in the cache. Those of a whole batch are
    written to new memory at every step, which takes several times as long.
    """
    if inputs.device.type != "cpu":
        return fingerprint(to_uint8(scale.restore(inputs)))
    parts = inputs.split(max(1, _VALUES // max(1, inputs[:1].numel())))
    return mix64(torch.cat([word_sums(torch.from_numpy(scale.levels(part))) for part in parts]))


def thumbnails(pixels: Tensor) -> Tensor:
    """Small pictures of images: the centre square at 64 x 64.

    Args:
        pixels: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 64, 64, 3) uint8 on the CPU.
    """
    side = min(pixels.shape[-2:])
    top, left = ((size - side) // 2 for size in pixels.shape[-2:])
    square = pixels[..., top : top + side, left : left + side].float()
    # Enlarged pixels stay crisp; reduced ones are averaged.
    small = (
        interpolate(square, THUMBNAIL, mode="nearest")
        if side <= THUMBNAIL
        else interpolate(square, THUMBNAIL, mode="bilinear", antialias=True)
    )
    return to_uint8(small.clamp(0, 1)).permute(0, 2, 3, 1).contiguous().cpu()
