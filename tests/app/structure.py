"""Tables of classes, images and weights of a validation, small enough to know by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import squareform

from sing_monitor.findings import Findings
from sing_monitor.tracking import MlflowRun, RunWriter
from tests.app.stores import Store

# Alike are the two cats and the two vehicles; ship and car are confused, and so are cat and ship.
NAMES = ("cat", "lynx", "car", "ship")
IDS = [f"{number:016x}" for number in range(4)]
# Of features: their maps are stored apart.
PARTS = ("all", "seen", "null")


def class_edges(names: Sequence[str] = NAMES) -> pd.DataFrame:
    """Of four classes in two clusters: a pair explained, one latent, one unexplained, one none."""
    cat, lynx, car, ship = names
    pairs = [
        # class_a, class_b, similarity, confusion, confusions, ancestor, weights, errors, images
        (cat, lynx, 0.8, 0.0, 0, "animal", True, False, [], []),
        (cat, ship, -0.5, 0.05, 1, "thing", False, True, [IDS[0]], [IDS[3]]),
        (car, ship, 0.6, 0.25, 5, "vehicle", True, True, [IDS[2]], [IDS[3]]),
        (lynx, car, -0.4, 0.0, 0, "thing", False, False, [], []),
    ]
    columns = ("class_a", "class_b", "similarity", "confusion", "confusions", "ancestor")
    columns += ("in_weights", "in_errors", "images_a", "images_b")
    table = pd.DataFrame(pairs, columns=list(columns))
    depth = table["ancestor"].map({"animal": 2.0, "vehicle": 2.0, "thing": 1.0})
    return table.assign(depth=depth, cluster=[0, -1, 1, -1], in_tree=table["in_weights"])


def class_graph(names: Sequence[str] = NAMES) -> pd.DataFrame:
    """The same classes; the second has no images."""
    return pd.DataFrame(
        {
            "class": names,
            "cluster": [0, 0, 1, 1],
            "error": [0.1, np.nan, 0.25, 0.5],
            "images": [10, 0, 20, 10],
            "x": [0.0, 0.3, 0.7, 1.0],
            "y": [0.2, 0.8, 0.3, 0.9],
        }
    )


def many_classes(number: int, size: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Edges and graph of so many classes in chains of ``size``; chains are confused in a row."""
    names = [f"class {each}" for each in range(number)]
    rows = []
    for one, other in zip(range(number - 1), range(1, number), strict=True):
        inside = one // size == other // size
        rows.append((names[one], names[other], 0.5 if inside else -0.1, inside))
    table = pd.DataFrame(rows, columns=["class_a", "class_b", "similarity", "in_weights"])
    table = table.assign(
        **{"in_errors": ~table["in_weights"], "confusion": 0.0, "confusions": 0, "depth": np.nan},
        ancestor="",
        images_a=[[] for _ in rows],
        images_b=[[] for _ in rows],
    )
    table.loc[table["in_errors"], ["confusion", "confusions"]] = [0.25, 2]
    place = np.arange(number)
    graph = {"class": names, "cluster": place // size, "error": 0.1, "images": 8}
    return table, pd.DataFrame({**graph, "x": place / number, "y": (place % size) / size})


def similarity(ids: Sequence[str] = IDS) -> pd.DataFrame:
    """Six pairs of four images; the first two are alike part by part alone."""
    a, b = np.triu_indices(len(ids), 1)
    spatial, semantic = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.9, 0.3, 0.35, 0.5, 0.55, 0.7]
    return pd.DataFrame(
        {
            "image_a": [ids[each] for each in a],
            "image_b": [ids[each] for each in b],
            "spatial": spatial,
            "semantic": semantic,
            "jsd": 0.1,
            "positions_a": [[0, 3]] * 6,
            "positions_b": [[5, 1]] * 6,
            "strengths": [[0.75, 0.25]] * 6,
        }
    )


def similarity_images(
    ids: Sequence[str] = IDS, names: Sequence[str] = ("cat", "cat", "ship", "car")
) -> pd.DataFrame:
    """The same images, on maps of two by three places."""
    by_place, by_part = (
        squareform(similarity(ids)[kind]) - np.eye(len(ids)) for kind in ("spatial", "semantic")
    )
    nearest = [
        [[ids[each] for each in np.argsort(-row)[:3]] for row in matrix]
        for matrix in (by_place, by_part)
    ]
    return pd.DataFrame(
        {
            "image": ids,
            "class": names,
            "prediction": [*names[:3], names[0]],
            "height": 2,
            "width": 3,
            "nearest_spatial": nearest[0],
            "nearest_semantic": nearest[1],
        }
    )


def modes(layers: Sequence[str] = ("stem", "body", "head")) -> pd.DataFrame:
    """Of three layers: the first moves on its own, half of the second stands still."""
    stem, body, head = layers
    rows = [
        # mode, size, depth, layer, weights, share
        (-1, 20, 1, body, 20, 0.5),
        (0, 50, 1, body, 20, 0.5),
        (0, 50, 2, head, 30, 1.0),
        (1, 10, 0, stem, 10, 1.0),
    ]
    return pd.DataFrame(rows, columns=["mode", "size", "depth", "layer", "weights", "share"])


def mode_curves(last: int, layers: Sequence[str] = ("stem", "body", "head")) -> pd.DataFrame:
    """A line and a wave over the eight epochs up to the last one."""
    line, wave = np.arange(8) - 3.5, np.tile([1.0, -1.0], 4)
    return pd.DataFrame(
        {
            "mode": np.repeat([0, 1], 8),
            "layer": [layers[2]] * 8 + [layers[0]] * 8,
            "validation": np.tile(np.arange(8), 2),
            "epoch": np.tile(np.arange(last - 7, last + 1), 2),
            "value": np.concatenate([line / line.std(), wave]),
        }
    )


def mode_weights(layers: Sequence[str] = ("stem", "body", "head")) -> pd.DataFrame:
    """Four weights that follow the line, one of them backward, and two that follow the wave."""
    line, wave = (mode_curves(7)["value"].to_numpy()[8 * each : 8 * each + 8] for each in (0, 1))
    curves = [line, line, 2 * line + 1, -line, wave, wave]
    return pd.DataFrame(
        {
            "mode": [0, 0, 0, 0, 1, 1],
            "layer": [layers[2], layers[2], layers[1], layers[1], layers[0], layers[0]],
            "correlation": [1.0, 1.0, 1.0, -1.0, 1.0, 1.0],
            "curve": [curve.astype(np.float32) for curve in curves],
        }
    )


def write_tables(
    store: Store,
    run: str,
    name: str,
    values: Sequence[Mapping[str, float]],
    tables: Mapping[int, Mapping[str, pd.DataFrame]],
    *,
    pictures: bool = False,
) -> None:
    """Write the tables of a run, by epoch, with a picture of one shade for each image."""
    writer = RunWriter(MlflowRun(store.client, run), store.folder / f"spool {name}")
    shades = {i: np.full((64, 64, 3), 60 * n, np.uint8) for n, i in enumerate(IDS)}
    for epoch, found in tables.items():
        at = {"epoch": epoch, "step": (epoch + 1) * 100}
        writer.write(Findings(values[epoch], found), **at, thumbnails=shades if pictures else {})


def focus_maps(ids: Sequence[str] = IDS, parts: Sequence[str] = PARTS) -> pd.DataFrame:
    """Of all but the last image, on two by three places: even, on one place, and on two."""
    levels = np.zeros((3, 6), np.uint8)
    levels[0], levels[1, 4], levels[2, 3:5] = 255, 255, 255
    rows = [(image, part, 2, 3, levels[PARTS.index(part)]) for image in ids[:-1] for part in parts]
    return pd.DataFrame(rows, columns=["image", "part", "height", "width", "levels"])


def focus(ids: Sequence[str] = IDS) -> pd.DataFrame:
    """The numbers of the same maps."""
    numbers = {"entropy": 1.0, "entropy_seen": 0.0, "entropy_null": np.log(2) / np.log(6)}
    more = {"overlap": 0.5**0.5, "critical_share": 0.5, "concentration": 0.1}
    return pd.DataFrame({"image": ids[:-1], **numbers, **more})
