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
BLIND = [known.blind_name(labels) for labels in known.PLANTED]
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


def test_the_honest_head_keeps_the_digit_and_the_shortcut_keeps_the_colour(
    answers: Answers,
) -> None:
    digit = values(answers, "sing/retention_seen", HONEST, SHORTCUT)
    colour = values(answers, "attribute/colour_retention_seen", HONEST, SHORTCUT)
    assert digit[0] > 0.95
    assert digit[1] < 0.5
    assert colour[0] < 0.3
    assert colour[1] > 0.9


def test_the_more_the_ink_gives_away_the_more_of_it_the_head_keeps(answers: Answers) -> None:
    names = [HONEST, *(f"shortcut {share:g}" for share in known.SHORTCUTS[1:])]
    digit, colour, hidden = (
        torch.tensor(values(answers, key, *names))
        for key in (
            "sing/retention_seen",
            "attribute/colour_retention_seen",
            "sing/class_hidden",
        )
    )
    assert (colour.diff()[1:] > 0.02).all()
    assert (digit.diff()[1:] < -0.02).all()
    assert (hidden.diff()[1:] > 0.01).all()
    # What holds for half of the images is no shortcut yet.
    assert float(digit[1]) == pytest.approx(float(digit[0]), abs=0.1)
    assert float(hidden[1]) == pytest.approx(float(hidden[0]), abs=0.05)


def test_probes_of_the_labels_say_the_same_as_the_space(answers: Answers) -> None:
    through_the_space, by_probes = (
        torch.tensor(values(answers, key, *answers))
        for key in ("sing/class_hidden", "probe/class_hidden")
    )
    assert (through_the_space - by_probes).abs().max() < 0.1


def test_intervals_tell_the_honest_model_from_the_shortcut(answers: Answers) -> None:
    honest, shortcut = (
        answers[name].tables["intervals"].set_index("key") for name in (HONEST, SHORTCUT)
    )
    assert honest.loc["sing/class_hidden", "high"] < shortcut.loc["sing/class_hidden", "low"]
    colour = "attribute/colour_retention_seen"
    assert honest.loc[colour, "high"] < shortcut.loc[colour, "low"]


def test_dead_inputs_move_no_score(answers: Answers) -> None:
    honest, dead = answers[HONEST].scalars, answers[DEAD].scalars
    assert dead["head/null_dim"] == honest["head/null_dim"] + known.DEAD_INPUTS
    for key, value in honest.items():
        if key.startswith(
            ("sing/", "attribute/", "translator/r2", "collapse/", "head/null_e")
        ) and not any(part in key for part in ("_random", "relative", "excess")):
            assert dead[key] == pytest.approx(value, rel=1e-3, abs=1e-3, nan_ok=True), key
    # The baseline draws its subspaces among more dimensions, of which the further ones are empty.
    relative = values(answers, "sing/image_score_relative", HONEST, DEAD)
    assert relative[1] == pytest.approx(relative[0], rel=0.05)


@pytest.mark.parametrize(
    ("name", "labels"), list(zip(BLIND, known.PLANTED, strict=True)), ids=BLIND
)
def test_classes_that_the_head_cannot_see_are_found_and_no_others(
    name: str, labels: tuple[int, ...], answers: Answers
) -> None:
    classes = answers[name].tables["classes"]
    assert classes["class_index"][classes["hidden"]].tolist() == list(labels)
    assert values(answers, "sing/hidden_classes", HONEST, name) == [0, len(labels)]
    assert classes["hidden_q"][list(labels)].max() < 1e-6
    assert answers[name].scalars["sing/class_hidden"] > 0.07 * len(labels)
    before, after = values(answers, "collapse/null_share_between", HONEST, name)
    assert after > 1.5 * before


def test_several_hidden_classes_mask_each_other_for_the_older_rule(answers: Answers) -> None:
    """Why classes are no longer judged by the others."""
    assert values(answers, "sing/leaking_classes", *BLIND) == [1, 0, 0]


def test_significance_alone_would_call_most_classes_leaks(answers: Answers) -> None:
    """Why a leak must also be out of line: honest classes differ, and 140 images show it."""
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
    honest, noise = values(answers, "sing/class_hidden", HONEST, NOISE)
    assert noise > honest + 0.02


def test_the_null_space_over_random_features_is_like_any_subspace(answers: Answers) -> None:
    honest, frozen = values(answers, "sing/image_score_relative", HONEST, FROZEN)
    assert honest < 0.65
    assert frozen > 0.8
    assert values(answers, "collapse/null_share_between", FROZEN)[0] > 0.4


def test_centered_equivalents_stay_among_the_images(answers: Answers) -> None:
    assert max(values(answers, "support/outside_centered", *answers)) < 0.15
    translated = values(answers, "support/outside_translated", *answers)
    assert max(translated) < 0.05
