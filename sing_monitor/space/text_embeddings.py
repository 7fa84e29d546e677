"""Text embeddings that scores refer to: of classes, concepts and attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sing_monitor.space.cache import EmbeddingCache
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from sing_monitor.space.semantic_space import SemanticSpace
from sing_monitor.space.vocabulary import DEFAULT_CONCEPTS, TEMPLATE

__all__ = [
    "DEFAULT_CONCEPTS",
    "TextSet",
    "Texts",
    "concept_prompts",
    "concept_set",
    "embed_texts",
    "fingerprint",
    "prototypes",
    "text_set",
    "to_uint8",
]


@dataclass(frozen=True, eq=False)
class TextSet:
    """Names with their embeddings: row i of `embeddings` belongs to `names[i]`.

    Args:
        names: K names; two may be equal.
        embeddings: (K, n), floating point. A row of NaN stands for a name without embedding.

    Raises:
        ValueError: if the embeddings are no floating-point matrix with a row for each name.
    """

    names: tuple[str, ...]
    embeddings: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        shape = tuple(self.embeddings.shape)
        if len(shape) != 2 or shape[0] != len(self.names):
            raise ValueError(
                f"embeddings have shape {shape}; expected ({len(self.names)}, n), a row for each "
                f"of the {len(self.names)} names"
            )
        if not self.embeddings.is_floating_point():
            raise ValueError(f"embeddings are {self.embeddings.dtype}; expected floating point")


@dataclass(frozen=True, eq=False)
class Texts:
    """Text embeddings of one validation, to which its scores refer.

    Args:
        classes: one embedding per class, in the order of the classifier's outputs.
        concepts: embeddings of a vocabulary, or None.
        attributes: name of an annotated attribute -> embeddings of its values.

    Raises:
        ValueError: if the sets have different numbers of dimensions.
    """

    classes: TextSet
    concepts: TextSet | None = None
    attributes: Mapping[str, TextSet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sets = {"classes": self.classes, **self.attributes}
        if self.concepts is not None:
            sets["concepts"] = self.concepts
        dims = {name: each.embeddings.shape[1] for name, each in sets.items()}
        if len(set(dims.values())) > 1:
            raise ValueError(f"embeddings of different spaces: their dimensions are {dims}")


def embed_texts(
    space: SemanticSpace, prompts: Sequence[str], cache: EmbeddingCache | None = None
) -> Tensor:
    """Embed prompts that the cache does not hold, each distinct one once.

    Args:
        space: embeds the prompts.
        prompts: K prompts.
        cache: the space's cache of texts.

    Returns:
        (K, n) float32 on the CPU, not normalized.

    Raises:
        ValueError: if the space returns another shape, or embeddings that are not finite.
    """
    distinct = list(dict.fromkeys(prompts))
    keys = torch.tensor([_text_key(prompt) for prompt in distinct], dtype=torch.int64)
    rows = torch.empty(len(distinct), space.dim, dtype=torch.float32)
    known = torch.zeros(len(distinct), dtype=torch.bool)
    if cache is not None:
        rows, known = cache.lookup(keys)
    if not known.all():
        unknown = [
            prompt for prompt, found in zip(distinct, known.tolist(), strict=True) if not found
        ]
        embeddings = space.encode_texts(unknown).float().cpu()
        if embeddings.shape != (len(unknown), space.dim):
            raise ValueError(
                f"{space.name}.encode_texts returned shape {tuple(embeddings.shape)} for "
                f"{len(unknown)} texts; expected {(len(unknown), space.dim)}"
            )
        if not embeddings.isfinite().all():
            raise ValueError(f"{space.name}.encode_texts returned NaN or infinite numbers")
        if cache is not None:
            cache.add(keys[~known], embeddings)
        rows[~known] = embeddings
    position = {prompt: row for row, prompt in enumerate(distinct)}
    return rows[[position[prompt] for prompt in prompts]]


def text_set(
    space: SemanticSpace,
    names: Sequence[str],
    templates: str | Sequence[str],
    cache: EmbeddingCache | None = None,
) -> TextSet:
    """Embed names in one or several templates.

    One template gives the raw embedding. With several, the embeddings are scaled to unit length
    and averaged, as in the paper.

    Args:
        space: embeds the prompts.
        names: K names.
        templates: each with "{}" once, where the name goes.
        cache: the space's cache of texts.

    Raises:
        ValueError: if there is no template, or one does not hold "{}" exactly once.
    """
    templates = [templates] if isinstance(templates, str) else list(templates)
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f'template {template!r} must hold "{{}}" exactly once, where the name goes, as in '
                '"an image of a {}"'
            )
    if not templates:
        raise ValueError('no template given; one is "an image of a {}"')
    prompts = [[template.replace("{}", name) for template in templates] for name in names]
    return _mean_set(space, names, prompts, cache)


def concept_set(
    space: SemanticSpace,
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None,
    cache: EmbeddingCache | None = None,
) -> TextSet | None:
    """Embed a vocabulary of concepts.

    Args:
        space: embeds the prompts.
        concepts: name -> prompt or prompts (several are averaged at unit length); or plain words,
            for which the prompt is "an image of <word>"; None for `DEFAULT_CONCEPTS`.
        cache: the space's cache of texts.

    Returns:
        The concepts, or None if `concepts` is empty.

    Raises:
        TypeError: if `concepts` is a single text.
        ValueError: if a concept has no prompt.
    """
    prompts = concept_prompts(concepts)
    return _mean_set(space, list(prompts), list(prompts.values()), cache) if prompts else None


def concept_prompts(
    concepts: Mapping[str, str | Sequence[str]] | Sequence[str] | None,
) -> dict[str, list[str]]:
    """List the prompts of each concept of a vocabulary, as `concept_set` embeds them.

    Args:
        concepts: as `concept_set` takes them.

    Raises:
        TypeError: if `concepts` is a single text.
        ValueError: if a concept has no prompt.
    """
    if isinstance(concepts, str):
        raise TypeError(f"concepts is the text {concepts!r}; give a list of words, [{concepts!r}]")
    if concepts is None:
        concepts = DEFAULT_CONCEPTS
    if not isinstance(concepts, Mapping):
        concepts = {word: TEMPLATE.replace("{}", word) for word in concepts}
    prompts = {
        name: [each] if isinstance(each, str) else list(each) for name, each in concepts.items()
    }
    for name, found in prompts.items():
        if not found:
            raise ValueError(f"concept {name!r} has no prompt; give a text or a list of texts")
    return prompts


def prototypes(embeddings: Tensor, labels: Tensor, names: Sequence[str]) -> TextSet:
    """Compute class prototypes, which replace texts: mean image embeddings at unit length.

    Args:
        embeddings: (N, n) image embeddings.
        labels: (N,) classes, integers in [0, C).
        names: C class names.

    Returns:
        C names and embeddings (C, n), on the CPU and in the dtype of `embeddings`. A class without
        images has a row of NaN.

    Raises:
        ValueError: if shapes do not fit, or labels lie outside [0, C).
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"embeddings have shape {tuple(embeddings.shape)} and labels {tuple(labels.shape)}; "
            "expected (N, n) and (N,)"
        )
    labels = labels.cpu().long()
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(names):
        raise ValueError(
            f"labels lie in [{int(labels.min())}, {int(labels.max())}]; expected [0, {len(names)}) "
            f"for {len(names)} class names"
        )
    units = normalize(embeddings.detach().cpu().double(), dim=1)
    sums = torch.zeros(len(names), units.shape[1], dtype=units.dtype).index_add_(0, labels, units)
    counts = torch.bincount(labels, minlength=len(names)).unsqueeze(1)
    return TextSet(tuple(names), (sums / counts).to(embeddings.dtype))


def _mean_set(
    space: SemanticSpace,
    names: Sequence[str],
    prompts: Sequence[Sequence[str]],
    cache: EmbeddingCache | None,
) -> TextSet:
    """Embed each name by its only prompt, or by the mean of several at unit length."""
    rows = embed_texts(space, [prompt for each in prompts for prompt in each], cache)
    groups = rows.split([len(each) for each in prompts]) if prompts else ()
    means = [
        group[0] if len(group) == 1 else normalize(group.double(), dim=1).mean(0).float()
        for group in groups
    ]
    return TextSet(tuple(names), torch.stack(means) if means else rows)


def _text_key(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
