"""How well features translate into the semantic space: what every score stands on."""

from __future__ import annotations

import math

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.observation import Observation
from sing_monitor.translate.cross_fit import CrossFit

SATURATION = "translator/saturation"
# Below it degrees still grow with the number of images.
SATURATED = 0.9

TRANSLATOR = MetricGroup("translator", "Translator")

TRANSLATOR_METRICS: tuple[MetricSpec, ...] = (
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
        "translator/r2_seen",
        "R2 of the seen part",
        "share",
        "none",
        "R2 of a refit on V_p'(f - mu) alone, held out",
        "ours",
        "Share of the embeddings' variance that what the head sees explains alone.",
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
        "Strength of the regularization. Chosen at the first analyzed epoch and kept until it "
        "costs more than one standard error of R2; degrees before and after a change do not "
        "compare.",
        group=TRANSLATOR,
    ),
    MetricSpec(
        SATURATION,
        "Saturation of the translation",
        "ratio",
        "higher",
        "R2 of translators fitted on half of their images, at least 0, over r2",
        "ours",
        "1: more images would not improve the translation. Below 0.9 degrees, and what the "
        "invisible part tells, still grow with the probe: compare runs of the same size. NaN where "
        "r2 is not above 0 by two standard errors: nothing is translated that could grow.",
        group=TRANSLATOR,
    ),
)


def analyze_translator(observation: Observation) -> Findings:
    """Held-out quality and the ridge of the translators.

    Returns:
        Scalars ``translator/*``, but for the number of poorly translated classes.
    """
    fit, (cosine, error) = observation.fit, observation.held_out
    r2 = fit.r2(float(error.sum()))
    return Findings(
        {
            "translator/cosine": float(cosine.mean()),
            "translator/r2": r2,
            "translator/r2_seen": r2 if observation.geometry.null_dim == 0 else fit.r2_seen,
            "translator/r2_null": fit.r2_null,
            "translator/ridge": fit.ridge,
            SATURATION: _saturation(r2, fit),
        }
    )


def _saturation(r2: float, fit: CrossFit) -> float:
    """Share of R2 that half of the images explain; NaN where R2 is within its error of 0."""
    is_explained = fit.curve is not None and r2 > 2 * fit.curve.error
    if not is_explained or math.isnan(fit.lost_by_half):
        return math.nan
    return max(r2 - fit.lost_by_half, 0.0) / r2


ANALYSIS = Analysis(
    "translator",
    analyze_translator,
    TRANSLATOR_METRICS,
    needs=frozenset({"embeddings"}),
    part_of="sing",
)
