"""What linear probes read of the class and of attributes, from either part of the features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import CLASS, COUNT, HIDDEN
from sing_monitor.analyses.readings import ATTRIBUTE
from sing_monitor.findings import ColumnSpec, Findings, MetricGroup, MetricSpec, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.derived import constant_reader, is_read
from sing_monitor.scores.hidden_classes import HiddenClasses, find_hidden
from sing_monitor.scores.moments import average, group_mean

if TYPE_CHECKING:
    from pandas import DataFrame

PROBE = MetricGroup("probe", "Probes")
CLASS_PROBE = "probe/class_"
_SOURCE = "ridge classifiers, held out; see Hewitt, Liang 2019; Voita, Titov 2020"

PROBE_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "probe/class_hidden",
        "Hidden from the head, probes",
        "share",
        "lower",
        "class_whole - class_seen",
        _SOURCE,
        "The share of images whose class a linear probe reads from the whole feature and not from "
        "what the head sees. It needs labels alone, no vision-language model. NaN when class_whole "
        "is not above what always naming the commonest class gets.",
        group=PROBE,
        short="Class hidden, probes",
    ),
    MetricSpec(
        "probe/class_whole",
        "Class read, whole feature",
        "share",
        "higher",
        "accuracy of a ridge classifier on f, fitted on the other fold",
        _SOURCE,
        "How often a linear probe reads the class rightly. Above monitor/accuracy: a better head "
        "on these very features could gain at least the difference.",
        group=PROBE,
    ),
    MetricSpec(
        "probe/class_seen",
        "Class read, seen part",
        "share",
        "higher",
        "accuracy of a ridge classifier on V_p'(f - mu), fitted on the other fold",
        _SOURCE,
        "How often a linear probe reads the class rightly from what the head sees alone.",
        group=PROBE,
    ),
    MetricSpec(
        "probe/class_null",
        "Class read, null part",
        "share",
        "none",
        "accuracy of a ridge classifier on P_n(f - mu), fitted on the other fold",
        _SOURCE,
        "How often a linear probe reads the class rightly from the invisible part alone. High "
        "beside a class_hidden near 0: the class stands in both parts. NaN without a null space.",
        group=PROBE,
    ),
    MetricSpec(
        "probe/hidden_classes",
        "Hidden classes, probes",
        "count",
        "lower",
        "classes with q < 0.02 and (lost - gained) / n >= 0.2, probe of the whole against the seen",
        "test: McNemar 1947, exact; q: Benjamini, Hochberg 1995; rule ours",
        "Classes of which many images are read rightly from the whole feature and wrongly from "
        "what the head sees, by linear probes. The table probe_classes names them.",
        group=PROBE,
    ),
    MetricSpec(
        "probe/ridge",
        "Ridge of the probes",
        "1",
        "none",
        "rho of (Cov + rho tr(Cov)/m I)^-1",
        "ours",
        "Strength of the regularization: that of the translator; without a space, or with one that "
        "the features say too little of, the best one for reading the class on held-out images.",
        group=PROBE,
    ),
    MetricSpec(
        "attribute/{attribute}_probe_hidden",
        "Hidden attribute, probes",
        "share",
        "none",
        "probe_whole - probe_seen",
        _SOURCE,
        "The share of images whose value of the attribute a linear probe reads from the whole "
        "feature and not from what the head sees. Large for something the class does not depend "
        "on is good.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        "attribute/{attribute}_probe_whole",
        "Probe of the attribute, whole feature",
        "share",
        "none",
        "accuracy of a ridge classifier on f, fitted on the other fold",
        _SOURCE,
        "How often a linear probe reads the attribute rightly.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        "attribute/{attribute}_probe_seen",
        "Probe of the attribute, seen part",
        "share",
        "none",
        "accuracy of a ridge classifier on V_p'(f - mu), fitted on the other fold",
        _SOURCE,
        "How often a linear probe reads the attribute rightly from what the head sees alone. As "
        "high as from the whole, for something the class does not depend on: a shortcut.",
        group=ATTRIBUTE,
    ),
    MetricSpec(
        "attribute/{attribute}_probe_null",
        "Probe of the attribute, null part",
        "share",
        "none",
        "accuracy of a ridge classifier on P_n(f - mu), fitted on the other fold",
        _SOURCE,
        "How often a linear probe reads the attribute rightly from the invisible part alone. NaN "
        "without a null space.",
        group=ATTRIBUTE,
    ),
)

PROBE_CLASSES = TableSpec(
    "probe_classes",
    "Classes read by probes",
    "A class of the head, as linear probes read it; NaN without judged images.",
    (
        *CLASS,
        COUNT,
        ColumnSpec("whole", "share", "Share of the images read rightly from the whole feature."),
        ColumnSpec("seen", "share", "Share of the images read rightly from the seen part."),
        *HIDDEN,
    ),
)


def analyze_probes(observation: Observation) -> Findings:
    """Held-out accuracy of linear probes on whole features, on the seen and on the null part.

    They are fitted on one fold and judged on the other, as translators are, under the same
    penalty. Where many features and answers make that dear, a fixed sample of the images of both
    folds is judged (:func:`~sing_monitor.translate.parts.probes.judged_images`); the interval
    tells how few they are.

    Returns:
        Scalars ``probe/*`` and ``attribute/*_probe_*``; table ``probe_classes``.
    """
    hidden, questions = observation.once(hidden_classes), observation.request.questions
    scalars = {"probe/hidden_classes": hidden.count, "probe/ridge": observation.probes.ridge}
    for prefix, found in observation.answers.items():
        whole, seen = average(found.whole), average(found.seen)
        labels = questions[prefix].labels[observation.request.judged]
        is_known = is_read(whole, chance=constant_reader(labels), samples=len(labels))
        scalars |= {
            f"{prefix}hidden": whole - seen if is_known else math.nan,
            f"{prefix}whole": whole,
            f"{prefix}seen": seen,
            f"{prefix}null": average(found.null),
        }
    return Findings(scalars, {"probe_classes": _table(observation, hidden)})


def hidden_classes(observation: Observation) -> HiddenClasses:
    """The test of every class, read by the probes of whole features and of the seen part."""
    found, snapshot = observation.answers[CLASS_PROBE], observation.snapshot
    judged, classes = observation.request.judged, len(snapshot.class_names)
    labels, groups = snapshot.labels[judged], snapshot.groups_of(judged)
    return find_hidden(found.whole, found.seen, labels, classes, groups)


def _table(observation: Observation, hidden: HiddenClasses) -> DataFrame:
    from pandas import DataFrame

    found, names = observation.answers[CLASS_PROBE], observation.snapshot.class_names
    labels = observation.snapshot.labels[observation.request.judged]
    return DataFrame(
        {
            "class_index": range(len(names)),
            "class_name": list(names),
            "n": labels.bincount(minlength=len(names)).numpy(),
            "whole": group_mean(found.whole, labels, len(names)).numpy(),
            "seen": group_mean(found.seen, labels, len(names)).numpy(),
            "hidden": hidden.hidden.numpy(),
            "hidden_p": hidden.p.numpy(),
            "hidden_q": hidden.q.numpy(),
        }
    )


ANALYSIS = Analysis(
    "probes",
    analyze_probes,
    PROBE_METRICS,
    (PROBE_CLASSES,),
    needs=frozenset({"labels"}),
    part_of="sing",
)
