"""Everything an analysis reports, against the plain recipe of the paper, side by side.

The plain recipe: a full singular value decomposition, scikit-learn's ridge regression, one
equivalent pair and its two scores. The core of the analysis also cross-fits, has three kinds of
pair, scores classes, concepts and neural collapse; all of it adds intervals, support, the slope
along the ridge, steering and perturbations. Prints the ratios of the medians of alternating
repetitions.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

import torch
from sklearn.linear_model import Ridge

from sing_monitor.analyses import CHOICES, analyze
from sing_monitor.analyses.collapse import analyze_collapse
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import attribute_score, image_score
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.benchmarks.machine import alternating, describe
from tests.helpers import scored

RIDGE = 1e-3
SHAPES = {  # samples N, features m, classes C, embedding n, concepts K
    "small": (1_000, 512, 10, 512, 60),
    "imagenet": (10_000, 2_048, 1_000, 768, 173),
}


def planted(shape: tuple[int, int, int, int, int]) -> tuple[Snapshot, Texts]:
    """Random features, and embeddings that are a noisy linear map of them."""
    samples, feature_dim, classes, embedding_dim, concepts = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator)

    features = normal(samples, feature_dim) + 1
    labels = torch.arange(samples) % classes
    embeddings = features @ normal(feature_dim, embedding_dim) / feature_dim**0.5
    names = tuple(str(i) for i in range(classes))
    snapshot = Snapshot(
        weight=normal(classes, feature_dim) / feature_dim**0.5,
        bias=None,
        features=features,
        labels=labels,
        embeddings=embeddings + 0.1 * normal(samples, embedding_dim),
        class_names=names,
    )
    words = TextSet(tuple(str(i) for i in range(concepts)), normal(concepts, embedding_dim))
    return snapshot, Texts(TextSet(names, normal(classes, embedding_dim)), words)


def plain_recipe(snapshot: Snapshot, texts: Texts, ridge: float = RIDGE) -> None:
    """What a notebook does: full SVD, ridge, one pair, AS and IS."""
    _, values, right = torch.linalg.svd(snapshot.weight, full_matrices=True)
    null = right[int((values > 1e-5).sum()) :]
    removed = snapshot.features - snapshot.features @ null.T @ null
    translator = Ridge(ridge * len(snapshot)).fit(
        snapshot.features.numpy(), snapshot.embeddings.numpy()
    )
    original, equivalent = (
        torch.from_numpy(translator.predict(x.numpy())) for x in (snapshot.features, removed)
    )
    attribute_score(original, equivalent, texts.classes.embeddings[snapshot.labels]).mean()
    image_score(original, equivalent).mean()


def fresh(snapshot: Snapshot) -> Snapshot:
    """The same snapshot without what it has worked out before."""
    return Snapshot(**{name: getattr(snapshot, name) for name in snapshot.__dataclass_fields__})


def main() -> None:
    """Print one line a shape, and with --profile where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--ridge", type=float, default=RIDGE, help="small ones cost more")
    parser.add_argument("--without", nargs="*", default=[], choices=CHOICES, help="leave these out")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    chosen = set(CHOICES) - set(arguments.without)
    print(describe())
    for name, shape in SHAPES.items():
        snapshot, texts = planted(shape)

        def ours(snapshot: Snapshot = snapshot, texts: Texts = texts) -> None:
            analyze(fresh(snapshot), texts, ridge=arguments.ridge, chosen=chosen)

        def core(snapshot: Snapshot = snapshot, texts: Texts = texts) -> None:
            observation = Observation(fresh(snapshot), texts, ridge=arguments.ridge)
            scored(observation)
            analyze_collapse(observation)

        def plain(snapshot: Snapshot = snapshot, texts: Texts = texts) -> None:
            plain_recipe(fresh(snapshot), texts, arguments.ridge)

        started = time.perf_counter()
        ours()
        first = time.perf_counter() - started
        times = alternating({"all": ours, "core": core, "plain": plain}, arguments.repetitions)
        print(f"{name}: N={shape[0]} m={shape[1]} C={shape[2]} n={shape[3]} K={shape[4]}")
        for clock, seconds in zip(
            ("wall", "processor"), zip(*times.values(), strict=True), strict=True
        ):
            whole, part, recipe = seconds
            print(
                f"  {clock}: analysis {whole:.2f} s, core {part:.2f} s, plain recipe "
                f"{recipe:.2f} s; ratios {whole / recipe:.2f} and {part / recipe:.2f}",
                flush=True,
            )
        print(f"  the first analysis of the process: {first:.2f} s")
        if arguments.profile:
            with cProfile.Profile(time.process_time) as profile:
                ours()
            pstats.Stats(profile).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
