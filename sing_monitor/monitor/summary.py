"""Summary: the headline of one validation in a few sentences, and where to look at the run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sing_monitor.headline import HIDDEN, HIDDEN_BY_PROBES, Interval, headline, hidden_classes
from sing_monitor.tracking.addresses import shown_address

# From this share of images out of support on, the summary says so.
_MOST = 0.5
_UNKNOWN = "how much of the class the head hides is undefined at this validation."


def summary(scalars: Mapping[str, float], intervals: Mapping[str, Interval] | None = None) -> str:
    """The headline of one validation: what the head hides of the class, then degrees in short.

    Args:
        scalars: by key of the catalogue: those of the analyses that ran.
        intervals: ends of their 95 % intervals, by key; those that are not given are not said.
    """
    if not {HIDDEN, HIDDEN_BY_PROBES} & scalars.keys():
        return f"{scalars['monitor/samples']:.0f} images analyzed. {_of_the_head(scalars)}".rstrip()
    first = headline(scalars, intervals) or _UNKNOWN
    if named := hidden_classes(scalars):
        first += f" {named[0].upper()}{named[1:]}."
    has_space = "sing/image_score_centered" in scalars
    rest = _degrees(scalars) if has_space else _of_the_head(scalars)
    return f"{first} {rest}".rstrip()


def how_to_look(uri: str, *, with_mlflow: bool = False) -> str:
    """The commands that show a run: the app, and before it MLflow's own pages.

    Args:
        uri: of the store that holds it.
        with_mlflow: whether the training logs there itself.

    Example::

        >>> how_to_look("runs/")
        'See the invariants evolve: sing-monitor app --tracking-uri runs/'
    """
    shown = shown_address(uri)
    compared = f"Compare runs: mlflow ui --backend-store-uri {shown}. " if with_mlflow else ""
    return f"{compared}See the invariants evolve: sing-monitor app --tracking-uri {shown}"


def _degrees(scalars: Mapping[str, float]) -> str:
    moved, random, toward = (
        scalars[f"sing/{name}"]
        for name in ("image_score_centered", "image_score_random", "attribute_score_centered")
    )
    if not math.isfinite(moved):
        return ""
    found = (
        f"Removing what the head cannot see moves meaning by {moved:.1f}° (a random subspace of "
        f"that size: {random:.1f}°), {toward:z.1f}° of it toward the class"
    )
    outside = scalars.get("support/outside_centered", math.nan)
    if outside > _MOST:
        found += (
            f"; but {outside:.0%} of the images are translated out of support, so these degrees "
            "say more of the translator than of the head"
        )
    return f"{found}."


def _of_the_head(scalars: Mapping[str, float]) -> str:
    if "head/rank" not in scalars:
        return ""
    null, rank = scalars["head/null_dim"], scalars["head/rank"]
    share = scalars["head/null_energy_centered"]
    found = f"{null:.0f} of {null + rank:.0f} feature dimensions change no logit"
    if math.isfinite(share):
        found += f"; they hold {share:.0%} of what differs from image to image"
    return f"{found}."
