"""SING: how far the meaning moves when what the head cannot see is removed.

Yadid, Levi, Betser, Gilboa, "Make it SING: Analyzing Semantic Invariants in Classifiers",
CVPR 2026.
"""

from __future__ import annotations

from typing import Literal

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.uncertainty.random_head import relative_spread
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import PairScores
from sing_monitor.scores.derived import ratio, relative_scores
from sing_monitor.scores.moments import average, spread
from sing_monitor.scores.pairs import CENTERED, PAIRS, RANDOM, Pair

SING = MetricGroup("sing", "Scores")

# A score says little where the equivalents are no plausible image embeddings.
OUTSIDE = "support/outside"
# Degrees tell of a translator that goes on learning, and of how strongly it is held back.
_DEPENDS = "Moves with probe size and ridge."


def _pair_metrics(pair: Pair) -> tuple[MetricSpec, ...]:
    is_headline = pair is CENTERED

    def spec(
        name: str,
        label: str,
        unit: str,
        better: Literal["higher", "lower", "none"],
        formula: str,
        plain: str,
        short: str = "",
    ) -> MetricSpec:
        return MetricSpec(
            pair.named(f"sing/{name}"),
            f"{label}{pair.label}",
            unit,
            better,
            f"{formula}, f~ = {pair.formula}",
            f"SING eqs. 6-8, pair {pair.source}",
            plain,
            group=SING,
            short=short if is_headline else "",
            baseline=RANDOM.named(f"sing/{name}") if is_headline else None,
            support=None if pair.is_baseline else pair.named(OUTSIDE),
        )

    return (
        spec(
            "attribute_score",
            "AS toward the true class",
            "deg",
            "none",
            "mean of angle(T f, t) - angle(T f~, t)",
            f"How much nearer to its class an image's meaning comes when {pair.removal}. "
            "Negative: class meaning goes with it; near 0 does not prove that none does. "
            f"{_DEPENDS}",
            short="AS, centered",
        ),
        spec(
            "attribute_score_abs",
            "|AS| toward the true class",
            "deg",
            "none",
            "mean of |AS|",
            f"How far the meaning moves toward or away from the class when {pair.removal}. "
            f"{_DEPENDS}",
        ),
        spec(
            "attribute_score_std",
            "AS spread",
            "deg",
            "none",
            "standard deviation of AS over images",
            f"How much the Attribute Score differs from image to image. {_DEPENDS}",
        ),
        spec(
            "image_score",
            "IS, meaning moved",
            "deg",
            "none",
            "mean of angle(T f, T f~)",
            f"How far an image's meaning moves when {pair.removal}: what the head tolerates. "
            f"Grows with the null space; compare with the random subspace. {_DEPENDS}",
            short="IS, centered",
        ),
        spec(
            "image_score_std",
            "IS spread",
            "deg",
            "none",
            "standard deviation of IS over images",
            f"How much the Image Score differs from image to image. {_DEPENDS}",
        ),
        spec(
            "score_ratio",
            "IS / |AS|",
            "ratio",
            "none",
            "mean IS / mean |AS|",
            "The paper's summary of a model. No direction is good: it can fall while a head hides "
            f"less and less. At least 1; NaN without a null space. {_DEPENDS}",
            short="IS / |AS|",
        ),
    )


RELATIVE_METRICS = (
    MetricSpec(
        "sing/image_score_relative",
        "IS relative to random",
        "ratio",
        "none",
        "image_score_centered / image_score_random",
        "ours",
        "1: removing the head's null space moves the meaning as far as removing any subspace of "
        "its size. Read it beside null_energy_centered and null_energy_random. Within two "
        "image_score_relative_spread of 1 it is what a random head shows. "
        f"{_DEPENDS}",
        group=SING,
        support=CENTERED.named(OUTSIDE),
        spread="sing/image_score_relative_spread",
    ),
    MetricSpec(
        "sing/attribute_score_excess",
        "AS beyond random",
        "deg",
        "none",
        "attribute_score_centered - attribute_score_random",
        "ours",
        "Negative: what the head cannot see takes more of the class with it than a random subspace "
        f"of that size. Positive: less. {_DEPENDS}",
        group=SING,
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "sing/attribute_share",
        "AS share of the movement",
        "ratio",
        "none",
        "attribute_score_centered / image_score_centered",
        "ours",
        "Which part of the movement goes toward (+) or away from (-) the class, -1 to 1. "
        f"{_DEPENDS}",
        group=SING,
        baseline=RANDOM.named("sing/attribute_share"),
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        RANDOM.named("sing/attribute_share"),
        "AS share, random subspace",
        "ratio",
        "none",
        "attribute_score_random / image_score_random",
        "ours",
        f"The same for a random subspace: what an uninformed removal does to the class. {_DEPENDS}",
        group=SING,
    ),
)

SPREAD = MetricSpec(
    "sing/image_score_relative_spread",
    "IS relative, spread of random heads",
    "ratio",
    "none",
    "standard deviation / mean of IS over random null spaces of this size, by the moments of "
    "random projections, and of the baseline over its draws: root of the sum of squares",
    "Collins and Sniady 2006; law ours",
    "How far image_score_relative of a random head lies from 1, on these features and with "
    "this null space. Large for few null dimensions, of few images, and where few directions carry "
    "meaning. NaN where fewer than three do.",
    group=SING,
)

UNSCORED = MetricSpec(
    "sing/unscored",
    "Images without a score",
    "count",
    "lower",
    "images whose AS is not defined: their class has no text, or T f no direction",
    "ours",
    "Images that means of AS and zero-shot accuracy leave out. All of them where nothing could be "
    "translated.",
    group=SING,
)

INVARIANTS_METRICS: tuple[MetricSpec, ...] = (
    *(spec for pair in PAIRS for spec in _pair_metrics(pair)),
    *RELATIVE_METRICS,
    SPREAD,
    UNSCORED,
)


def analyze_invariants(observation: Observation) -> Findings:
    """AS and IS of the paper's pair, of the centered pair and of a random subspace.

    Every image is scored by a translator fitted on the other half of the probe.

    Returns:
        Means, spreads and ratios over the images that have a score, ``sing/*``; NaN where a fold
        of the probe holds no two images that differ.
    """
    summaries = {pair: _summary(scores) for pair, scores in observation.scores.items()}
    attribute, image = (
        {pair: summary[name] for pair, summary in summaries.items()}
        for name in ("attribute_score", "image_score")
    )
    scalars = {
        pair.named(name): value
        for pair, summary in summaries.items()
        for name, value in summary.items()
    } | relative_scores(attribute, image)
    scalars["image_score_relative_spread"] = relative_spread(observation)
    scalars["unscored"] = float(observation.scores[CENTERED].attribute.isnan().sum())
    return Findings({f"sing/{name}": value for name, value in scalars.items()})


def _summary(scores: PairScores) -> dict[str, float]:
    """Mean, spread and ratio, by the name they have in the catalogue."""
    magnitude, distance = average(scores.attribute.abs()), average(scores.image)
    return {
        "attribute_score": average(scores.attribute),
        "attribute_score_abs": magnitude,
        "attribute_score_std": spread(scores.attribute),
        "image_score": distance,
        "image_score_std": spread(scores.image),
        "score_ratio": ratio(distance, magnitude),
    }


ANALYSIS = Analysis(
    "invariants",
    analyze_invariants,
    INVARIANTS_METRICS,
    needs=frozenset({"labels", "embeddings"}),
    part_of="sing",
)
