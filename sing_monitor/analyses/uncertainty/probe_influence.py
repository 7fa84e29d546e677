"""Influence of fitted images on how often the probes read the class or an attribute rightly."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot

from sing_monitor.analyses.uncertainty.placing import kernels_of, placed
from sing_monitor.observation import Observation
from sing_monitor.scores.choices import Choice
from sing_monitor.scores.influence import share_influence
from sing_monitor.translate.kernel import Kernel, Kernels


def probe_influences(observation: Observation) -> dict[str, Tensor]:
    """Influence of images on sums over the judged images of the other half of the probe.

    Returns:
        By column of :func:`~sing_monitor.analyses.intervals.probe_columns`, (J,) float64 each;
        none where a half of the probe is empty.
    """
    kernels = kernels_of(observation, observation.probes)
    if kernels is None:
        return {}
    halves = [_half(observation, kernels, fold) for fold in (0, 1)]
    found = placed(halves, kernels, observation.snapshot.folds)
    return {name: values[observation.request.judged] for name, values in found.items()}


def _half(observation: Observation, kernels: Kernels, fold: int) -> dict[str, Tensor]:
    """Influence on sums over the judged images of one fold, by column, (I,) each."""
    snapshot, judged = observation.snapshot, observation.request.judged
    places = (snapshot.folds[judged] == fold).nonzero().flatten()
    rows = (snapshot.folds != fold).nonzero().flatten(), kernels.rows[fold], judged[places]
    whole = _Weights(kernels.whole[fold], snapshot.features, *rows)
    seen = None if kernels.seen is None else _Weights(kernels.seen[fold], snapshot.seen, *rows)
    found = {}
    for prefix, question in observation.request.questions.items():
        answers = observation.answers[prefix]
        asked = question.labels, question.choices
        change = whole.change(*asked, answers.by_whole, places)
        found[f"{prefix}hidden"] = change - (
            change if seen is None else seen.change(*asked, answers.by_seen, places)
        )
    return found


class _Weights:
    """What some fitted images weigh in a regression with any targets.

    Args:
        kernel: of these images.
        vectors: of all images, as they enter the regression, (N, m).
        fitted: all images that were fitted, (M,).
        chosen: those of the kernel among them, (I,).
        held_out: images that are judged, (B,).
    """

    def __init__(
        self, kernel: Kernel, vectors: Tensor, fitted: Tensor, chosen: Tensor, held_out: Tensor
    ) -> None:
        self._scale, self._fitted, self._chosen = kernel.scale, fitted, chosen
        self._held_out = held_out
        self._own, self._others = (kernel.of_rows(vectors, rows) for rows in (fitted, held_out))

    def change(self, labels: Tensor, choices: int, choice: Choice, places: Tensor) -> Tensor:
        """Influence on the sum of right answers, (I,), of a probe for one-hot answers.

        Args:
            labels: the true answers, (N,).
            choices: number of answers.
            choice: what is answered for all judged images.
            places: of the images of this half among them, (B,).
        """
        fitted = self._own.new_zeros(choices, len(self._chosen))
        fitted.index_add_(0, labels[self._fitted], self._own)
        residuals = (one_hot(labels[self._chosen], choices) - fitted.T) * self._scale[:, None]
        toward = residuals.T.to(self._others)
        difference = toward[labels[self._held_out]] - toward[choice.rival[places]]
        return share_influence(self._others, difference, choice.margin[places])
