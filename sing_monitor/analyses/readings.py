"""Zero-shot accuracy before and after centered removal, of the class and of attributes."""

from __future__ import annotations

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.invariants import OUTSIDE, SING
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.derived import retention
from sing_monitor.scores.moments import average
from sing_monitor.scores.pairs import CENTERED

ATTRIBUTE = MetricGroup("attribute", "Attributes")

READING_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "sing/zero_shot",
        "Zero-shot class, whole feature",
        "share",
        "higher",
        "share of images with argmax_c cos(T f, t_c) = label",
        "ours",
        "How often the translated feature is nearest to the text of its own class.",
        group=SING,
    ),
    MetricSpec(
        CENTERED.named("sing/zero_shot"),
        "Zero-shot class, after removal",
        "share",
        "none",
        "share of images with argmax_c cos(T f~, t_c) = label, f~ = f - P_n (f - mu)",
        "ours",
        "The same after the centered null-space part is removed. No direction is good: it also "
        "falls where both parts say the same; zero_shot_seen refits.",
        group=SING,
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "sing/retention",
        "Retention of the class",
        "ratio",
        "none",
        "(zero_shot_centered - 1/C) / (zero_shot - 1/C)",
        "ours",
        "How much of the class survives the removal, chance apart, read without refitting: by a "
        "translator that knows whole features only. Low also where the class stands in both "
        "parts; retention_seen tells the two apart. NaN when zero_shot is not above chance.",
        group=SING,
        short="Retention",
        support=CENTERED.named(OUTSIDE),
    ),
    MetricSpec(
        "attribute/{attribute}_zero_shot",
        "Zero-shot attribute, whole feature",
        "share",
        "none",
        "share of images with argmax_v cos(T f, t_v) = true value",
        "ours",
        "How often the translated feature is nearest to the text of the attribute's true value.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        CENTERED.named("attribute/{attribute}_zero_shot"),
        "Zero-shot attribute, after removal",
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
        "How much of an attribute survives the removal, chance apart, read without refitting: low "
        "also where the attribute stands in both parts, and the head sees it all the same. "
        "retention_seen tells the two apart.",
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
        "How much nearer to its true value the meaning comes. Negative: what the head cannot see "
        "says the attribute, which may stand in what it sees as well.",
        group=ATTRIBUTE,
        support=CENTERED.named(OUTSIDE),
    ),
)


def analyze_readings(observation: Observation) -> Findings:
    """Zero-shot accuracy on the class and on annotated attributes, and what is retained of it.

    Returns:
        Scalars ``sing/zero_shot``, ``sing/zero_shot_centered`` and ``sing/retention``, and
        ``attribute/*``.
    """
    scalars: dict[str, float] = {}
    for prefix, reading in observation.readings.items():
        before, after = average(reading.before), average(reading.after)
        retained = retention(before, after, chance=reading.chance, samples=reading.samples)
        scalars |= {
            f"{prefix}zero_shot": before,
            CENTERED.named(f"{prefix}zero_shot"): after,
            f"{prefix}retention": retained,
        }
        if prefix.startswith("attribute/"):
            scalars[f"{prefix}score"] = average(reading.attribute)
    return Findings(scalars)


ANALYSIS = Analysis(
    "readings",
    analyze_readings,
    READING_METRICS,
    needs=frozenset({"labels", "embeddings"}),
    part_of="sing",
)
