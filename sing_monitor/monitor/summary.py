"""Summary: the headline of one validation, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping

# From this share of images out of support on, the summary says so.
_MOST = 0.5


def summary(scalars: Mapping[str, float]) -> str:
    """The headline of one validation.

    Args:
        scalars: by key of the catalogue; without a semantic space those that need none.
    """
    if "sing/image_score_centered" not in scalars:
        return _of_the_head(scalars)

    def degrees(key: str) -> str:
        return f"{scalars[key]:.1f}°"

    sentence = (
        f"removing what the head cannot see moves meaning by "
        f"{degrees('sing/image_score_centered')} (a random subspace of that size: "
        f"{degrees('sing/image_score_random')}), "
        f"{degrees('sing/attribute_score_centered')} of it toward the class"
    )
    retained = scalars["sing/retention"]
    if math.isfinite(retained):
        share = f"{retained:.0%}" if retained > 0 else "none"
        sentence += f"; {share} of the class's zero-shot accuracy is retained"
    outside = scalars["support/outside_centered"]
    if outside > _MOST:
        sentence += (
            f". But {outside:.0%} of the images are translated out of support, so these numbers "
            "say more of the translator than of the head"
        )
    return f"{sentence}."


def _of_the_head(scalars: Mapping[str, float]) -> str:
    null, rank = scalars["head/null_dim"], scalars["head/rank"]
    share = scalars["head/null_energy_centered"]
    sentence = f"{null:.0f} of {null + rank:.0f} feature dimensions change no logit"
    if math.isfinite(share):
        sentence += f"; they hold {share:.0%} of what differs from image to image"
    return f"{sentence}."
