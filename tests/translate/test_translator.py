from __future__ import annotations

import pytest
import torch

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal


def test_null_space_part_is_what_the_translator_reads_there() -> None:
    head = HeadGeometry.from_weight(normal(3, 6, seed=0))
    translator = LinearTranslator(normal(4, 6, seed=1), normal(4, seed=2))
    x = normal(5, 6, seed=3)
    expected = translator(x) - translator(head.principal(x))
    torch.testing.assert_close(x @ translator.null_space_part(head).T, expected)


def test_a_translator_survives_its_checkpoint(tmp_path) -> None:
    translator = LinearTranslator(normal(4, 6, seed=0), normal(4, seed=1))
    assert list(translator.parameters()) == []
    assert set(translator.state_dict()) == {"weight", "bias"}
    torch.save(translator.state_dict(), tmp_path / "translator.pt")
    state = torch.load(tmp_path / "translator.pt", weights_only=True)
    loaded = LinearTranslator.from_state_dict(state)
    assert torch.equal(loaded.weight, translator.weight)
    empty = LinearTranslator(torch.zeros(4, 6).double(), torch.zeros(4).double())
    empty.load_state_dict(state)
    assert torch.equal(empty.bias, translator.bias)


@pytest.mark.parametrize(
    ("weight", "bias"), [((4, 6), (6,)), ((4, 6), (4, 1)), ((4,), (4,)), ((4, 6), ())]
)
def test_a_translator_of_odd_shapes_is_refused(weight, bias) -> None:
    with pytest.raises(ValueError, match=r"weight \(n, m\) and a bias \(n,\)"):
        LinearTranslator(torch.zeros(weight), torch.zeros(bias))


def test_a_checkpoint_with_other_keys_is_refused() -> None:
    state = {"weight": torch.zeros(2, 2), "head.bias": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"holds \['head.bias', 'weight'\]"):
        LinearTranslator.from_state_dict(state)
