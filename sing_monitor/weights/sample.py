"""Stratified sample of a network's weights: half spread over the layers, half by their size."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sing_monitor.head.linear_layers import is_inside

MOST_OF_HEAD = 50_000
_SEED = 0
_ITSELF = "(the module itself)"
_PARAMETRIZED = re.compile(r"(^|\.)parametrizations\..*$")


@dataclass(frozen=True, eq=False)
class WeightSample:
    """Which weights of a network are read: the same ones for the same names and sizes.

    Args:
        picked: by name of a parameter, the rows of its flattened numbers, ascending.
        layers: names of the layers, in the network's order.
        layer_index: the layer of each weight, (N,) int64.
        is_head: whether a weight belongs to the head, (N,) bool.
        network: fingerprint of the names, sizes and the head, in hexadecimal digits.
    """

    picked: Mapping[str, Tensor]
    layers: tuple[str, ...]
    layer_index: Tensor
    is_head: Tensor
    network: str

    @staticmethod
    def network_of(sizes: Mapping[str, int], head: str, count: int) -> str:
        """The fingerprint of what a sample is drawn by."""
        told = json.dumps([list(sizes.items()), head, count])
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()

    @classmethod
    def of(cls, sizes: Mapping[str, int], head: str, count: int) -> WeightSample:
        """Sample parameters, half spread equally over the layers, half by their size.

        A head of at most 50,000 numbers is taken whole, beside the others.

        Args:
            sizes: of the parameters, by name.
            head: name of the head's layer.
            count: how many are sampled.
        """
        layer_of = {name: _layer(name) for name in sizes}
        layers = tuple(dict.fromkeys(layer_of.values()))
        of_head = {name for name, layer in layer_of.items() if is_inside(layer, [head])}
        is_whole = sum(sizes[name] for name in of_head) <= MOST_OF_HEAD
        others = {name: size for name, size in sizes.items() if not (is_whole and name in of_head)}
        by_layer = dict.fromkeys((layer_of[name] for name in others), 0)
        for name, size in others.items():
            by_layer[layer_of[name]] += size
        wanted = dict(zip(by_layer, spread(list(by_layer.values()), count), strict=True))
        picked = {}
        for name, size in sizes.items():
            layer = layer_of[name]
            if name not in others:
                picked[name] = torch.arange(size)
                continue
            # Of the layer's parameters each gets its share; the last one what is left.
            own = round(wanted[layer] * size / by_layer[layer]) if by_layer[layer] else 0
            own = min(own, size)
            by_layer[layer] -= size
            wanted[layer] -= own
            rng = np.random.default_rng([_SEED, zlib.crc32(name.encode())])
            rows = rng.choice(size, own, replace=False, shuffle=False)
            picked[name] = torch.from_numpy(np.sort(rows))
        names = [name for name, rows in picked.items() for _ in range(len(rows))]
        depth = {layer: place for place, layer in enumerate(layers)}
        return cls(
            {name: rows for name, rows in picked.items() if len(rows)},
            tuple(layer or _ITSELF for layer in layers),
            torch.tensor([depth[layer_of[name]] for name in names], dtype=torch.int64),
            torch.tensor([name in of_head for name in names], dtype=torch.bool),
            cls.network_of(sizes, head, count),
        )


def spread(sizes: Sequence[int], count: int) -> list[int]:
    """How many of ``count`` fall to each layer: half equally, half by size; never more than it has.

    Args:
        sizes: of the layers.
        count: to share out.

    Example::

        >>> spread([10, 1000, 90], 100), spread([3, 4], 100)
        ([10, 67, 23], [3, 4])
    """
    total = sum(sizes)
    if count >= total:
        return list(sizes)
    taken = _equally(sizes, count // 2)
    rest, left = count - sum(taken), [size - own for size, own in zip(sizes, taken, strict=True)]
    exact = [rest * each / sum(left) for each in left]
    added = [int(each) for each in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda layer: added[layer] - exact[layer])
    for layer in by_remainder[: rest - sum(added)]:
        added[layer] += 1
    return [own + more for own, more in zip(taken, added, strict=True)]


def _equally(sizes: Sequence[int], count: int) -> list[int]:
    """The same from each layer; what small layers lack comes from the others."""
    taken = [0] * len(sizes)
    smallest_first = sorted(range(len(sizes)), key=lambda layer: sizes[layer])
    for place, layer in enumerate(smallest_first):
        taken[layer] = min(sizes[layer], count // (len(sizes) - place))
        count -= taken[layer]
    return taken


def _layer(name: str) -> str:
    """The layer of a parameter: the module that holds it, parametrized or not."""
    holder = _PARAMETRIZED.sub("", name)
    return holder if holder != name else name.rpartition(".")[0]
