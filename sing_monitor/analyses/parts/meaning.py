"""How much of the meaning the head sees, shares with the null space, and misses."""

from __future__ import annotations

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.translator import analyze_translator
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.derived import commonality

MEANING = MetricGroup("meaning", "Meaning")
_SOURCE = "Newton, Spurrell 1967; Mood 1971"

MEANING_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "meaning/unique_seen",
        "Meaning, seen part alone",
        "share",
        "none",
        "r2 - r2_null",
        _SOURCE,
        "Share of the embeddings' variance that only what the head sees explains. Held out, so it "
        "may fall slightly below 0.",
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
        "in the feature twice.",
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
        "feature means and the head cannot use.",
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
    parts = commonality(r2["translator/r2"], r2["translator/r2_seen"], r2["translator/r2_null"])
    return Findings({f"meaning/{name}": value for name, value in parts.items()})


ANALYSIS = Analysis("meaning", analyze_meaning, MEANING_METRICS, needs=frozenset({"embeddings"}))
