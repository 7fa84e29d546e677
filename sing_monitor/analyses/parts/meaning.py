"""How much of the meaning the head sees, shares with the null space, and misses."""

from __future__ import annotations

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.translator import analyze_translator
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.derived import commonality

MEANING = MetricGroup("meaning", "Meaning")
_SOURCE = "Newton, Spurrell 1967; Mood 1971"
_UNSPLIT = (
    "NaN where r2, r2_seen or r2_null is below -0.05, or r2 by more than 0.05 below one of the "
    "others or below that with half of the images: there are too few images for the ridge, and "
    "what is explained is no share."
)

MEANING_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "meaning/unique_seen",
        "Meaning, seen part alone",
        "share",
        "none",
        "r2 - r2_null",
        _SOURCE,
        "Share of the embeddings' variance that only what the head sees explains. Held out, so it "
        f"may fall slightly below 0. {_UNSPLIT}",
        group=MEANING,
        short="Seen alone",
    ),
    MetricSpec(
        "meaning/shared",
        "Meaning, both parts",
        "share",
        "none",
        "r2_seen + r2_null - r2",
        _SOURCE,
        "Share of the embeddings' variance that either part explains without the other: it stands "
        f"in the feature twice. {_UNSPLIT}",
        group=MEANING,
        short="Both",
    ),
    MetricSpec(
        "meaning/unique_null",
        "Meaning, null part alone",
        "share",
        "none",
        "r2 - r2_seen",
        _SOURCE,
        "Share of the embeddings' variance that only the invisible part explains: what the "
        f"feature means and the head cannot use. {_UNSPLIT}",
        group=MEANING,
        short="Null alone",
    ),
)


def analyze_meaning(observation: Observation) -> Findings:
    """Commonality analysis of the translation's R2 by the seen and the null part.

    Returns:
        Scalars ``meaning/*``; with ``1 - translator/r2`` they add up to 1.
    """
    r2 = observation.once(analyze_translator).scalars
    whole, seen, null = (r2[f"translator/r2{part}"] for part in ("", "_seen", "_null"))
    parts = commonality(whole, seen, null, half=whole - observation.fit.lost_by_half)
    return Findings({f"meaning/{name}": value for name, value in parts.items()})


ANALYSIS = Analysis(
    "meaning", analyze_meaning, MEANING_METRICS, needs=frozenset({"embeddings"}), part_of="sing"
)
