"""The catalogue entries of the invariants analysis: SING's scores and what they stand on."""

from __future__ import annotations

from sing_monitor.findings import MetricGroup, MetricSpec
from sing_monitor.scores.pairs import CENTERED, PAIRS, RANDOM, Pair

SING = MetricGroup("sing", "Scores", in_space=True)
ATTRIBUTE = MetricGroup("attribute", "Attributes", in_space=True)
HEAD = MetricGroup("head", "Head")
TRANSLATOR = MetricGroup("translator", "Translator", in_space=True)

# A score of either equivalent says little where the equivalent is no plausible image embedding.
OUTSIDE = "support/outside"


def _pair_metrics(pair: Pair) -> tuple[MetricSpec, ...]:
    cite = f"SING eqs. 6-8, pair {pair.source}"
    support = None if pair.is_baseline else pair.named(OUTSIDE)

    def baseline(key: str) -> str | None:
        return RANDOM.named(key) if pair is CENTERED else None

    return (
        MetricSpec(
            pair.named("sing/attribute_score"),
            f"AS toward the true class{pair.label}",
            "deg",
            "none",
            f"mean of angle(T f, t) - angle(T f~, t), f~ = {pair.formula}",
            cite,
            f"How much nearer to its class an image's meaning comes when {pair.removal}. "
            "Negative: class meaning was hidden from the head. Near 0 is good.",
            group=SING,
            short=f"AS{pair.label}" if pair is CENTERED else "",
            baseline=baseline("sing/attribute_score"),
            support=support,
        ),
        MetricSpec(
            pair.named("sing/attribute_score_abs"),
            f"|AS| toward the true class{pair.label}",
            "deg",
            "lower",
            f"mean of |AS|, f~ = {pair.formula}",
            cite,
            f"How far the meaning moves toward or away from the class when {pair.removal}.",
            group=SING,
            baseline=baseline("sing/attribute_score_abs"),
            support=support,
        ),
        MetricSpec(
            pair.named("sing/attribute_score_std"),
            f"AS spread{pair.label}",
            "deg",
            "lower",
            f"standard deviation of AS over images, f~ = {pair.formula}",
            cite,
            "How much the Attribute Score differs from image to image.",
            group=SING,
            baseline=baseline("sing/attribute_score_std"),
            support=support,
        ),
        MetricSpec(
            pair.named("sing/image_score"),
            f"IS, meaning moved{pair.label}",
            "deg",
            "higher",
            f"mean of angle(T f, T f~), f~ = {pair.formula}",
            cite,
            f"How far an image's meaning moves when {pair.removal}: what the head tolerates. "
            "Grows with the size of the null space; compare with the random subspace.",
            group=SING,
            short=f"IS{pair.label}" if pair is CENTERED else "",
            baseline=baseline("sing/image_score"),
            support=support,
        ),
        MetricSpec(
            pair.named("sing/image_score_std"),
            f"IS spread{pair.label}",
            "deg",
            "none",
            f"standard deviation of IS over images, f~ = {pair.formula}",
            cite,
            "How much the Image Score differs from image to image.",
            group=SING,
            baseline=baseline("sing/image_score_std"),
            support=support,
        ),
        MetricSpec(
            pair.named("sing/score_ratio"),
            f"IS / |AS|{pair.label}",
            "ratio",
            "higher",
            f"mean IS / mean |AS|, f~ = {pair.formula}",
            cite,
            "The paper's summary of a model: much that is irrelevant is ignored, little of the "
            "class is. At least 1; NaN without a null space.",
            group=SING,
            short="IS / |AS|" if pair is CENTERED else "",
            baseline=baseline("sing/score_ratio"),
            support=support,
        ),
    )


_DERIVED = (
    MetricSpec(
        "sing/image_score_relative",
        "IS relative to random",
        "ratio",
        "none",
        "image_score_centered / image_score_random",
        "ours",
        "1: removing the head's null space moves the meaning as far as removing any subspace of "
        "its size. Read it beside null_energy_centered and null_energy_random.",
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
        "Near 0 is good.",
        group=SING,
        baseline="sing/attribute_share_random",
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "sing/attribute_share_random",
        "AS share, random subspace",
        "ratio",
        "none",
        "attribute_score_random / image_score_random",
        "ours",
        "The same for a random subspace: what an uninformed removal does to the class.",
        group=SING,
    ),
    MetricSpec(
        "sing/zero_shot",
        "Zero-shot class, before",
        "share",
        "higher",
        "share of images with argmax_c cos(T f, t_c) = label",
        "ours",
        "How often the translated feature is nearest to the text of its own class.",
        group=SING,
    ),
    MetricSpec(
        "sing/zero_shot_centered",
        "Zero-shot class, after",
        "share",
        "higher",
        "share of images with argmax_c cos(T f~, t_c) = label, f~ = f - P_n (f - mu)",
        "ours",
        "The same after the centered null-space part is removed.",
        group=SING,
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "sing/retention",
        "Retention of the class",
        "ratio",
        "higher",
        "(zero_shot_centered - 1/C) / (zero_shot - 1/C)",
        "ours",
        "How much of the class survives the removal, chance apart. 1: all of it is in the "
        "head's view; 0: all of it was hidden. NaN when zero_shot is not above chance.",
        group=SING,
        short="Retention",
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "attribute/{attribute}_zero_shot",
        "Zero-shot attribute, before",
        "share",
        "none",
        "share of images with argmax_v cos(T f, t_v) = true value",
        "ours",
        "How often the translated feature is nearest to the text of the attribute's true value.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        "attribute/{attribute}_zero_shot_centered",
        "Zero-shot attribute, after",
        "share",
        "none",
        "share of images with argmax_v cos(T f~, t_v) = true value, f~ = f - P_n (f - mu)",
        "ours",
        "The same after the centered null-space part is removed.",
        group=ATTRIBUTE,
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "attribute/{attribute}_retention",
        "Retention of the attribute",
        "ratio",
        "none",
        "(zero_shot_centered - 1/K) / (zero_shot - 1/K)",
        "ours",
        "How much of an attribute is in the head's view. Near 0 for something the class does not "
        "depend on is good; near 1 hints at a shortcut.",
        group=ATTRIBUTE,
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "attribute/{attribute}_score",
        "AS toward the attribute",
        "deg",
        "none",
        "mean of angle(T f, t_v) - angle(T f~, t_v), v the true value, f~ = f - P_n (f - mu)",
        "SING eqs. 6-7, pair ours",
        "How much nearer to its true value the meaning comes. Strongly negative: the head "
        "ignores the attribute.",
        group=ATTRIBUTE,
        support=CENTERED.named(OUTSIDE),
    ),
)

_HEAD = (
    MetricSpec(
        "head/rank",
        "Rank of the head",
        "count",
        "none",
        "singular values of W above eps (sqrt C + sqrt m) |W|_F / sqrt(C m)",
        "SING eq. 1",
        "Number of feature directions that the head reads.",
        group=HEAD,
    ),
    MetricSpec(
        "head/null_dim",
        "Null dimension",
        "count",
        "none",
        "m - rank",
        "SING eq. 2",
        "Number of feature directions that change no logit. 0: there is nothing to see here.",
        group=HEAD,
    ),
    MetricSpec(
        "head/null_energy",
        "Null energy",
        "share",
        "none",
        "sum |P_n f|^2 / sum |f|^2",
        "ours",
        "Share of the features' energy that the head cannot see; mostly the mean feature.",
        group=HEAD,
    ),
    MetricSpec(
        "head/null_energy_centered",
        "Null energy, centered",
        "share",
        "none",
        "sum |P_n (f - mu)|^2 / sum |f - mu|^2",
        "ours",
        "Share of the features' variance that the head cannot see.",
        group=HEAD,
        baseline="head/null_energy_random",
    ),
    MetricSpec(
        "head/null_energy_random",
        "Null energy, random subspace",
        "share",
        "none",
        "sum |R (f - mu)|^2 / sum |f - mu|^2, R drawn for each image",
        "ours",
        "The variance that a random subspace of the null space's size holds: the baseline.",
        group=HEAD,
    ),
    MetricSpec(
        "head/mean_share",
        "Mean's share of null energy",
        "share",
        "none",
        "N |P_n mu|^2 / sum |P_n f|^2",
        "ours",
        "How much of the null energy is one constant vector. Large: read the centered scores.",
        group=HEAD,
    ),
    MetricSpec(
        "head/null_angle",
        "Null angle",
        "deg",
        "none",
        "mean of angle(f, f - P_n f)",
        "ours",
        "How far features stand off the head's row space, before any translation.",
        group=HEAD,
    ),
    MetricSpec(
        "head/drift",
        "Drift of the row space",
        "share",
        "none",
        "0.5 |P - P'|_F^2 / min(r, m - r), r the mean rank, P' of the last analysed head",
        "ours",
        "How far the head turned since the last analysed validation: 0 not at all, 1 as far as "
        "possible. NaN at first.",
        group=HEAD,
    ),
    MetricSpec(
        "head/condition",
        "Condition of the head",
        "ratio",
        "none",
        "sigma_1 / sigma_r",
        "ours",
        "Largest over smallest non-zero singular value. Very large: the rank is a matter of taste.",
        group=HEAD,
    ),
)

_TRANSLATOR = (
    MetricSpec(
        "translator/cosine",
        "Cosine of the translation",
        "cosine",
        "higher",
        "mean of cos(T f, z), each image by the translator that did not see it",
        "SING eq. 4, cross-fitting ours",
        "How well features translate. The paper reports 0.89 on ImageNet. Low: trust no score.",
        group=TRANSLATOR,
    ),
    MetricSpec(
        "translator/r2",
        "R2 of the translation",
        "share",
        "higher",
        "1 - sum |z - T f|^2 / sum |z - mean z|^2, held out",
        "ours",
        "Share of the embeddings' variance that features explain. Below 0: worse than the mean.",
        group=TRANSLATOR,
    ),
    MetricSpec(
        "translator/r2_null",
        "R2 of the null part",
        "share",
        "none",
        "R2 of a refit on P_n f alone, held out",
        "ours",
        "Share of the embeddings' variance that the invisible part alone explains.",
        group=TRANSLATOR,
    ),
    MetricSpec(
        "translator/ridge",
        "Ridge",
        "1",
        "none",
        "rho of (Cov + rho tr(Cov)/m I)^-1",
        "ours",
        "Strength of the regularisation. Chosen at the first analysed epoch, then kept.",
        group=TRANSLATOR,
    ),
)

INVARIANTS_METRICS: tuple[MetricSpec, ...] = (
    *(spec for pair in PAIRS for spec in _pair_metrics(pair)),
    *_DERIVED,
    *_HEAD,
    *_TRANSLATOR,
)
