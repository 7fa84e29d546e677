"""How certain the headline scalars are: bootstrap intervals over images and their influence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import COUNT
from sing_monitor.analyses.invariants import analyze_invariants
from sing_monitor.analyses.parts.probes import analyze_probes
from sing_monitor.analyses.parts.refits import analyze_refits, hidden_key, rereadings
from sing_monitor.analyses.readings import analyze_readings
from sing_monitor.analyses.uncertainty.influence import score_influences
from sing_monitor.analyses.uncertainty.probe_influence import probe_influences
from sing_monitor.findings import ColumnSpec, Findings, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.bootstrap import (
    FEWEST_GROUPS,
    LEVEL,
    bootstrap_means,
    difference_bounds,
    percentile_interval,
)
from sing_monitor.scores.derived import above_chance, ratio, relative_scores
from sing_monitor.scores.pairs import CENTERED
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.random_subspaces import RANDOM_SEED

if TYPE_CHECKING:
    from pandas import DataFrame

# Analyses with a semantic space whose scalars have intervals.
_ANALYZES = (analyze_invariants, analyze_readings, analyze_refits)
_MEANS = ("attribute_score", "attribute_score_abs", "image_score")

INTERVALS = TableSpec(
    "intervals",
    "Intervals",
    "A headline metric with its interval.",
    (
        ColumnSpec("key", "", "The metric."),
        ColumnSpec("value", "", "Its value, in its own unit."),
        ColumnSpec("low", "", "Lower bound of the interval."),
        ColumnSpec("high", "", "Upper bound of the interval."),
        COUNT,
        ColumnSpec(
            "level",
            "share",
            "How often such an interval covers what probes of this size show on average.",
        ),
    ),
    is_followed=True,
)


def analyze_intervals(observation: Observation) -> Findings:
    """95 % percentile intervals of the headline scalars, from single images.

    They are about the scalar's expected value: its mean over probes of the same size, of other
    images of the same classes, each with translators of its own. The value of one other probe
    varies as well, and lies inside less often. Head, random subspaces, mean feature and ridge are
    held as they are, and another training may lead outside.

    Each image counts with its own scores and with its influence on the scores of the other half,
    through the translators and probes that are fitted on it (the infinitesimal jackknife,
    :mod:`sing_monitor.scores.influence`). Their sums are drawn anew 1,000 times, images or their
    groups as wholes, within classes, from a fixed seed. Those of the probes stand on the images
    that were judged.

    Returns:
        Table ``intervals``: key, value, low, high, n (images) and level. Bounds are NaN where the
        value is, and for fewer than 8 groups. Without a semantic space it holds the probes alone.
    """
    snapshot, judged = observation.snapshot, observation.request.judged
    own = probe_columns(observation)
    read, differences = _with(own, observation.once(probe_influences)), dict(own)
    scored = {}
    if observation.has_space:
        columns = image_columns(observation)
        scored = _with(columns, observation.once(score_influences))
        differences |= {key: columns[key] for key in map(hidden_key, observation.readings)}
    scalars = dict(observation.once(analyze_probes).scalars)
    for analyze in _ANALYZES if observation.has_space else ():
        scalars |= observation.once(analyze).scalars
    if scored and len(judged) == len(snapshot):
        # The same images: one bootstrap serves all.
        both = _replicates({**scored, **read}, snapshot)
        replicates = headline(both, observation) | {key: both[key] for key in read}
        given = scalars, differences, snapshot.groups, len(snapshot)
        return _findings(_table(replicates, *given))
    given = scalars, differences, snapshot.groups_of(judged), len(judged)
    parts = [_table(_replicates(read, snapshot, judged), *given)]
    if scored:
        replicates = headline(_replicates(scored, snapshot), observation)
        given = scalars, differences, snapshot.groups, len(snapshot)
        parts.insert(0, _table(replicates, *given))
    return _findings(*parts)


def _with(columns: Mapping[str, Tensor], influences: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Columns with what images do to the scores of others added to their own."""
    return {name: values + influences.get(name, 0) for name, values in columns.items()}


def _findings(*tables: DataFrame) -> Findings:
    from pandas import concat

    return Findings(tables={"intervals": concat(tables, ignore_index=True)})


def _replicates(
    columns: Mapping[str, Tensor], snapshot: Snapshot, rows: Tensor | None = None
) -> dict[str, Tensor]:
    """Means of columns over images that are drawn anew, each (B,)."""
    rows = torch.arange(len(snapshot)) if rows is None else rows
    values = torch.stack(list(columns.values()), dim=1)
    means = bootstrap_means(
        values, snapshot.labels[rows], snapshot.groups_of(rows), seed=RANDOM_SEED
    )
    return dict(zip(columns, means.T, strict=True))


def headline(means: Mapping[str, Tensor], observation: Observation) -> dict[str, Tensor]:
    """The headline scalars as functions of means over images.

    Args:
        means: of the columns, each of any one shape: of the probe, or of its replicates, (B,).
        observation: says which columns there are.

    Returns:
        By key of the catalogue, of the same shape.
    """
    found: dict[str, Tensor] = {}
    attribute, image = {}, {}
    for pair in observation.scores:
        names = [pair.named(f"sing/{name}") for name in _MEANS]
        found |= {name: means[name] for name in names}
        attribute[pair], magnitude, image[pair] = (means[name] for name in names)
        found[pair.named("sing/score_ratio")] = ratio(image[pair], magnitude)
    relative = relative_scores(attribute, image)
    found |= {f"sing/{name}": values for name, values in relative.items()}
    rereads = observation.once(rereadings)
    for prefix, reading in observation.readings.items():
        after_key = CENTERED.named(f"{prefix}zero_shot")
        # Influence may lead a replicate of a share beyond its range.
        before, after, seen = (
            means[key].clamp(0, 1)
            for key in (f"{prefix}zero_shot", after_key, f"{prefix}zero_shot_seen")
        )
        found |= {
            f"{prefix}zero_shot": before,
            after_key: after,
            f"{prefix}retention": above_chance(before, after, reading.chance),
        }
        found |= {
            hidden_key(prefix): means[hidden_key(prefix)],
            f"{prefix}retention_seen": above_chance(before, seen, rereads[prefix].chance),
            f"{prefix}zero_shot_seen": seen,
        }
        if prefix.startswith("attribute/"):
            found[f"{prefix}score"] = means[f"{prefix}score"]
    return found


def image_columns(observation: Observation) -> dict[str, Tensor]:
    """Everything that is averaged over all images, each (N,)."""
    columns: dict[str, Tensor] = {}
    for pair, scores in observation.scores.items():
        values = (scores.attribute, scores.attribute.abs(), scores.image)
        names = [pair.named(f"sing/{name}") for name in _MEANS]
        columns |= dict(zip(names, values, strict=True))
    for prefix, reading in observation.readings.items():
        columns |= {
            f"{prefix}zero_shot": reading.before,
            CENTERED.named(f"{prefix}zero_shot"): reading.after,
            f"{prefix}score": reading.attribute,
        }
    for prefix, reread in observation.once(rereadings).items():
        columns |= {
            f"{prefix}zero_shot_seen": reread.seen,
            hidden_key(prefix): reread.hidden,
        }
    return columns


def probe_columns(observation: Observation) -> dict[str, Tensor]:
    """What is averaged over the images that probes judge, by key of its mean, each (J,)."""
    return {
        f"{prefix}hidden": found.whole - found.seen for prefix, found in observation.answers.items()
    }


def _table(
    replicates: Mapping[str, Tensor],
    scalars: Mapping[str, float],
    differences: Mapping[str, Tensor],
    groups: Tensor | None,
    samples: int,
) -> DataFrame:
    """Rows of some metrics.

    Args:
        replicates: of each, (B,).
        scalars: their values.
        differences: of those that are shares lost less shares gained: of every image, (N,).
        groups: of the images, (N,); None: none.
        samples: N.
    """
    from pandas import DataFrame

    units = samples if groups is None else len(groups.unique())
    is_certain = groups is None or units >= FEWEST_GROUPS

    value = torch.tensor([scalars[key] for key in replicates], dtype=torch.float64)
    low, high = percentile_interval(torch.stack(list(replicates.values()), dim=1))
    # Where next to no image is lost, or gained, drawing those there are again tells too little.
    for place, key in enumerate(replicates):
        if key in differences:
            least, most = difference_bounds(differences[key], units)
            low[place], high[place] = low[place].clamp(max=least), high[place].clamp(min=most)
    known = ~value.isnan() & is_certain
    return DataFrame(
        {
            "key": list(replicates),
            "value": value.numpy(),
            "low": low.where(known, torch.nan).numpy(),
            "high": high.where(known, torch.nan).numpy(),
            "n": samples,
            "level": LEVEL,
        }
    )


ANALYSIS = Analysis(
    "intervals", analyze_intervals, tables=(INTERVALS,), needs=frozenset({"labels"}), part_of="sing"
)
