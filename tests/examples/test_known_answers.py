"""What the monitor says of trained models whose answer is known.

The models are those of seed 0; the limits leave a margin to what six seeds gave, which
docs/known_answers.md lists.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import known_answers as known

from sing_monitor.findings import Findings

HONEST = known.HONEST
BLIND = known.blind_name(known.PLANTED[0])
DEAD = f"{HONEST}, {known.DEAD_INPUTS} dead inputs"
NOISE, FROZEN, SHORTCUT = "half of the labels wrong", "frozen random backbone", "shortcut 1"
Answers = Mapping[str, Findings]


@pytest.fixture(scope="session")
def answers() -> Answers:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            return dict(known.answers(seed=0))
    finally:
        torch.set_num_threads(threads)


def values(answers: Answers, key: str, *names: str) -> list[float]:
    return [answers[name].scalars[key] for name in names]


def test_the_honest_head_sees_the_digit_and_the_shortcut_sees_the_colour(answers: Answers) -> None:
    digit = values(answers, "sing/retention_seen", HONEST, SHORTCUT)
    colour = values(answers, "attribute/colour_retention_seen", HONEST, SHORTCUT)
    assert digit[0] > 0.95
    assert digit[1] < 0.45
    assert colour[0] < 0.4
    assert colour[1] > 0.95
    hidden = values(answers, "sing/class_hidden", HONEST, SHORTCUT)
    assert hidden[0] < 0.03
    assert hidden[1] > 0.2


def test_probes_say_the_same_without_a_space(answers: Answers) -> None:
    hidden = values(answers, "probe/class_hidden", HONEST, SHORTCUT)
    assert hidden[0] < 0.04
    assert hidden[1] > 0.2
    colour = values(answers, "attribute/colour_probe_seen", HONEST, SHORTCUT)
    assert colour[0] < 0.35
    assert colour[1] > 0.95


def test_the_more_the_ink_gives_away_the_more_of_it_the_head_sees(answers: Answers) -> None:
    names = [f"shortcut {share:g}" for share in known.SHORTCUTS[1:]]
    for key in ("attribute/colour_retention_seen", "attribute/colour_probe_seen"):
        assert (torch.tensor(values(answers, key, *names)).diff() > 0.02).all(), key
    for key in ("sing/retention_seen", "probe/class_seen", "sing/retention"):
        assert (torch.tensor(values(answers, key, *names)).diff() < -0.02).all(), key
    assert (torch.tensor(values(answers, "sing/class_hidden", *names)).diff() > 0.02).all()


def test_what_holds_for_half_of_the_images_only_is_no_shortcut(answers: Answers) -> None:
    for key in ("monitor/accuracy", "sing/retention_seen", "attribute/colour_retention_seen"):
        honest, half = values(answers, key, HONEST, "shortcut 0.5")
        assert half == pytest.approx(honest, abs=0.2)


def test_intervals_tell_the_honest_model_from_the_shortcut(answers: Answers) -> None:
    honest, shortcut = (
        answers[name].tables["intervals"].set_index("key") for name in (HONEST, SHORTCUT)
    )
    digit = "sing/retention_seen"
    assert honest.loc[digit, "low"] > shortcut.loc[digit, "high"]
    assert honest.loc["sing/class_hidden", "high"] < shortcut.loc["sing/class_hidden", "low"]
    colour = "attribute/colour_retention_seen"
    assert honest.loc[colour, "high"] < shortcut.loc[colour, "low"]


def test_dead_inputs_move_no_score(answers: Answers) -> None:
    honest, dead = answers[HONEST].scalars, answers[DEAD].scalars
    assert dead["head/null_dim"] == honest["head/null_dim"] + known.DEAD_INPUTS
    for key, value in honest.items():
        if key.startswith(
            ("sing/", "attribute/", "translator/r2", "collapse/", "head/null_e")
        ) and ("_random" not in key and "relative" not in key):
            assert dead[key] == pytest.approx(value, rel=1e-3, abs=1e-3, nan_ok=True), key
    # The baseline draws its subspaces among more dimensions, of which the further ones are empty.
    relative = values(answers, "sing/image_score_relative", HONEST, DEAD)
    assert relative[1] == pytest.approx(relative[0], rel=0.05)


@pytest.mark.parametrize("hidden", known.PLANTED, ids=str)
def test_classes_that_the_head_cannot_see_are_named(
    answers: Answers, hidden: tuple[int, ...]
) -> None:
    """However many there are: no class is judged by the others."""
    found = answers[known.blind_name(hidden)]
    assert found.scalars["sing/hidden_classes"] == len(hidden)
    classes = found.tables["classes"]
    assert classes.index[classes["hidden"] == 1].tolist() == list(hidden)
    assert (classes["hidden_q"][list(hidden)] < 1e-6).all()
    assert found.scalars["sing/class_hidden"] == pytest.approx(len(hidden) / 10, abs=0.04)


def test_no_class_of_the_honest_head_is_hidden(answers: Answers) -> None:
    assert values(answers, "sing/hidden_classes", HONEST, DEAD) == [0, 0]
    before, after = values(answers, "collapse/null_share_between", HONEST, BLIND)
    assert after > 1.5 * before


def test_significance_alone_would_call_most_classes_leaks(answers: Answers) -> None:
    """Why a low AS is no evidence of a hidden class: honest classes differ, and that shows."""
    classes = answers[HONEST].tables["classes"]
    assert (classes["attribute_q"] < 0.05).sum() >= 5
    assert classes["attribute_deviation"].abs().max() < 5


def test_only_the_null_dimension_changes_and_the_relative_score_says_so(answers: Answers) -> None:
    names = [HONEST, *(f"{HONEST}, {count} random outputs" for count in known.RANDOM_OUTPUTS)]
    assert values(answers, "head/null_dim", *names) == [118, 88, 58, 28, 8]
    raw = values(answers, "sing/image_score_centered", *names)
    relative = values(answers, "sing/image_score_relative", *names)
    assert raw == sorted(raw, reverse=True)
    assert raw[0] > 2.2 * raw[-1]
    assert relative[-1] == pytest.approx(relative[0], rel=1 / 3)


def test_learned_noise_hides_class_meaning_from_the_head(answers: Answers) -> None:
    honest, noise = values(answers, "collapse/null_share_between", HONEST, NOISE)
    assert noise > 1.5 * honest
    honest, noise = values(answers, "sing/retention", HONEST, NOISE)
    assert noise < honest - 0.02


def test_the_null_space_over_random_features_is_like_any_subspace(answers: Answers) -> None:
    honest, frozen = values(answers, "sing/image_score_relative", HONEST, FROZEN)
    assert honest < 0.65
    assert frozen > 0.8
    assert values(answers, "collapse/null_share_between", FROZEN)[0] > 0.4


def test_centered_equivalents_stay_among_the_images(answers: Answers) -> None:
    assert max(values(answers, "support/outside_centered", *answers)) < 0.15
    translated = values(answers, "support/outside_translated", *answers)
    assert max(translated) < 0.05
