from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from sing_monitor.analyses import TABLES, analyze, catalogue_of
from sing_monitor.analyses.focus import importance, normalized_entropy
from sing_monitor.analyses.focus.analysis import ANALYSIS, analyze_focus, is_averaged
from sing_monitor.analyses.focus.locations import split_norms
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.findings import Findings, check_tables
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot, hex_ids
from sing_monitor.untrusted.tables import check_columns, read_table
from tests.helpers import (
    class_texts,
    generator,
    make_snapshot,
    normal,
    orthogonal,
    reorder,
    with_maps,
)

KEYS = {spec.key for spec in ANALYSIS.metrics}
OF_THE_HEAD = {"focus/entropy_seen", "focus/entropy_null", "focus/overlap"}


def found_in(snapshot: Snapshot) -> Findings:
    findings = analyze_focus(Observation(snapshot))
    assert findings.scalars.keys() == KEYS
    check_tables(findings.tables, TABLES.values())
    return findings


def stored_maps(snapshot: Snapshot, n_images: int = 64) -> pd.DataFrame | None:
    texts = class_texts(normal(len(snapshot.class_names), 8, seed=2))
    return analyze_focus(Observation(snapshot, texts, n_images=n_images)).tables.get("focus_maps")


def with_values(snapshot: Snapshot, values: Tensor) -> Snapshot:
    return replace(snapshot, maps=FeatureMaps(snapshot.maps.image_ids, values))


def test_every_number_word_for_word() -> None:
    snapshot = with_maps(make_snapshot())
    values = snapshot.maps.values
    away = values - values.mean(dim=(0, 2, 3))[:, None, None]
    seen = snapshot.geometry.principal(away.movedim(1, 3)).norm(dim=3)
    null = snapshot.geometry.null(away.movedim(1, 3)).norm(dim=3)
    soft = away.abs().sum(dim=1)
    sorted_shares = (soft.flatten(1) / soft.sum(dim=(1, 2))[:, None]).sort(descending=True).values
    expected = {
        "entropy": normalized_entropy(soft),
        "entropy_seen": normalized_entropy(seen),
        "entropy_null": normalized_entropy(null),
        "overlap": torch.cosine_similarity(seen.flatten(1), null.flatten(1)),
        "critical_share": (importance(values, "discrete") > 0).double().mean(dim=(1, 2)),
        # A tenth of 12 locations is one, and a fifth of the next.
        "concentration": sorted_shares[:, 0] + 0.2 * sorted_shares[:, 1],
    }
    findings = found_in(snapshot)
    table = findings.tables["focus"].set_index("image")
    ids = hex_ids(snapshot.maps.image_ids)
    assert set(table.index) == set(ids) == findings.pictured
    for name, numbers in expected.items():
        assert findings.scalars[f"focus/{name}"] == pytest.approx(float(numbers.mean())), name
        assert table.loc[ids, name].tolist() == pytest.approx(numbers.tolist()), name


def patched(strength: float) -> tuple[Snapshot, list[int]]:
    """Images of which one location each tells the class; the head reads nothing else.

    Args:
        strength: of the class at that location, beside noise of size 1 everywhere that the head
            does not see, and of size 0.1 that it sees.
    """
    snapshot = make_snapshot(samples=40, classes=2)
    places = torch.randint(0, 49, (40,), generator=generator(3))
    maps = normal(40, 12, 49, seed=1)
    maps[:, 0] *= 0.1
    signs = 1.0 - 2 * snapshot.labels
    maps[torch.arange(40), 0, places] += strength * signs
    weight = torch.zeros(2, 12, dtype=torch.float64)
    weight[0, 0], weight[1, 0] = 1, -1
    turn = orthogonal(12, seed=4)
    maps, weight = (maps.mT @ turn).mT, weight @ turn
    whole = replace(
        snapshot, features=maps.mean(dim=2), weight=weight, bias=torch.zeros(2).double()
    )
    values = maps.view(40, 12, 7, 7)
    return replace(whole, maps=FeatureMaps(whole.image_ids, values)), places.tolist()


def test_a_patch_that_alone_decides_is_where_the_head_looks() -> None:
    """The more the class weighs at its place, the less the seen part is spread."""
    found = [found_in(patched(strength)[0]).scalars for strength in (0.0, 3.0, 30.0)]
    seen = [scalars["focus/entropy_seen"] for scalars in found]
    assert seen[0] > seen[1] > seen[2]
    assert seen[2] < 0.5 < 0.95 < found[2]["focus/entropy_null"]
    assert found[2]["focus/entropy_null"] == pytest.approx(found[0]["focus/entropy_null"])
    assert found[2]["focus/overlap"] < found[0]["focus/overlap"]
    snapshot, places = patched(3.0)
    assert snapshot.accuracy > 0.9
    norms, _ = split_norms(snapshot.maps.values, snapshot.geometry)
    assert norms.flatten(1).argmax(dim=1).tolist() == places


def test_the_order_of_images_and_maps_does_not_matter() -> None:
    snapshot = with_maps(make_snapshot())
    shuffled = reorder(snapshot, torch.randperm(60, generator=generator(2)))
    maps = FeatureMaps(snapshot.maps.image_ids.flip(0), snapshot.maps.values.flip(0))
    before, after = found_in(snapshot), found_in(replace(shuffled, maps=maps))
    assert after.scalars == pytest.approx(before.scalars)
    pd.testing.assert_frame_equal(after.tables["focus"], before.tables["focus"])


def test_a_turn_of_the_features_does_not_change_what_the_head_sees() -> None:
    snapshot = with_maps(make_snapshot())
    turn = orthogonal(12, seed=5)
    values = (snapshot.maps.values.movedim(1, 3) @ turn).movedim(3, 1)
    turned = replace(snapshot, features=snapshot.features @ turn, weight=snapshot.weight @ turn)
    before, after = found_in(snapshot).scalars, found_in(with_values(turned, values)).scalars
    assert {key: after[key] for key in OF_THE_HEAD} == pytest.approx(
        {key: before[key] for key in OF_THE_HEAD}
    )


def test_only_the_norms_for_a_head_that_reads_no_average() -> None:
    snapshot = with_maps(make_snapshot())
    values = snapshot.maps.values
    # The largest value, a norm behind the average, and maps with other channels.
    others = (
        replace(snapshot, features=with_all(snapshot, values.amax(dim=(2, 3)))),
        replace(snapshot, features=snapshot.features * 1.01),
        with_values(snapshot, values[:, :7]),
    )
    for other in others:
        found = found_in(other)
        undefined = {key for key, value in found.scalars.items() if math.isnan(value)}
        assert undefined == OF_THE_HEAD
        columns = found.tables["focus"][["entropy_seen", "entropy_null", "overlap"]]
        assert columns.isna().all(axis=None)


def with_all(snapshot: Snapshot, features: Tensor) -> Tensor:
    """All features, those of the first images replaced."""
    return torch.cat([features, snapshot.features[len(features) :]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_averages_within_the_rounding_of_storage(dtype: torch.dtype) -> None:
    maps = normal(8, 64, 7, 7, seed=1).relu().to(dtype)
    for mean in (maps.mean(dim=(2, 3)), (maps.sum(dim=(2, 3)) / 49), maps.double().mean((2, 3))):
        assert is_averaged(maps, mean)
        assert is_averaged(maps, mean.double())
    exact = maps.double().mean(dim=(2, 3))
    assert not is_averaged(maps, exact * 1.03)
    assert not is_averaged(maps, maps.amax(dim=(2, 3)))
    assert not is_averaged(maps, torch.nn.functional.layer_norm(exact, (64,)))


def test_without_a_null_space_nothing_is_ignored() -> None:
    snapshot = with_maps(make_snapshot(samples=90, classes=15))
    found = found_in(snapshot).scalars
    assert math.isfinite(found["focus/entropy_seen"])
    assert math.isnan(found["focus/entropy_null"])
    assert math.isnan(found["focus/overlap"])


def test_few_images_and_one_location() -> None:
    few = found_in(with_maps(make_snapshot(), count=7))
    assert all(math.isnan(value) for value in few.scalars.values())
    assert not few.tables["focus"].isna().any(axis=None)
    one = found_in(with_maps(make_snapshot(), grid=(1, 1)))
    assert all(math.isnan(value) for value in one.scalars.values())
    assert len(one.tables["focus"]) == 20
    snapshot = with_maps(make_snapshot())
    absent = reorder(snapshot, torch.arange(20, 60))
    assert len(found_in(absent).tables["focus"]) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_maps_that_are_no_numbers_are_refused(value: float) -> None:
    snapshot = with_maps(make_snapshot())
    values = snapshot.maps.values.clone()
    values[3, 2, 1, 0] = value
    with pytest.raises(ValueError, match="maps hold NaN or infinite values"):
        found_in(with_values(snapshot, values))


def test_maps_that_do_not_vary_stand_nowhere() -> None:
    snapshot = with_maps(make_snapshot())
    found = found_in(with_values(snapshot, torch.full_like(snapshot.maps.values, 0.1).float()))
    assert all(math.isnan(value) for value in found.scalars.values())


@pytest.mark.parametrize("size", [1e-15, 1e12])
def test_the_size_of_features_does_not_matter(size: float) -> None:
    snapshot = with_maps(make_snapshot())
    scaled = with_values(snapshot, (snapshot.maps.values * size).float())
    scaled = replace(scaled, features=(snapshot.features * size).float())
    assert found_in(scaled).scalars == pytest.approx(found_in(snapshot).scalars, rel=1e-4)


def test_coordinates_give_the_same() -> None:
    snapshot = with_maps(make_snapshot(samples=40, feature_dim=400))
    found = analyze(replace(snapshot, embeddings=None), None).scalars
    assert {key: found[key] for key in KEYS} == pytest.approx(found_in(snapshot).scalars)
    assert math.isfinite(found["focus/overlap"])


def test_without_maps_the_analysis_is_left_out() -> None:
    assert KEYS <= {spec.key for spec in catalogue_of({"labels", "maps"})}
    assert not KEYS & {spec.key for spec in catalogue_of({"labels", "embeddings", "weights"})}
    with pytest.raises(ValueError, match="needs feature maps"):
        analyze_focus(Observation(make_snapshot()))


@pytest.mark.parametrize(("side", "keeps"), [(28, True), (16, False)])
def test_maps_averaged_down_keep_their_mean_where_14_divides_the_side(
    side: int, keeps: bool
) -> None:
    maps = normal(8, 12, side, side, seed=1).float()
    kept = torch.nn.functional.adaptive_avg_pool2d(maps, 14)
    assert is_averaged(kept, maps.mean(dim=(2, 3))) == keeps


def test_the_maps_are_stored_as_they_are_counted(tmp_path: Path) -> None:
    snapshot = with_maps(make_snapshot())
    table = stored_maps(snapshot)
    assert table is not None
    check_tables({"focus_maps": table}, TABLES.values())
    table.to_parquet(tmp_path / "focus_maps.parquet")
    read = read_table(tmp_path / "focus_maps.parquet")
    check_columns(read, list(table.columns))
    rows = read.set_index(["image", "part"])
    counted = found_in(snapshot).tables["focus"].set_index("image")
    assert len(rows) == 3 * len(counted) == 60
    assert set(zip(read["height"], read["width"], strict=True)) == {(3, 4)}
    away = snapshot.maps.values - snapshot.maps.values.mean(dim=(0, 2, 3))[:, None, None]
    seen, _ = split_norms(away, snapshot.geometry)
    for image, one in zip(hex_ids(snapshot.maps.image_ids), seen, strict=True):
        levels = rows.loc[(image, "seen"), "levels"]
        assert levels.max() == 255
        expected = 255 * (one / one.max()).flatten().numpy()
        np.testing.assert_allclose(levels, expected, atol=0.5 + 1e-9)
        for part, name in (("all", ""), ("seen", "_seen"), ("null", "_null")):
            shares = torch.from_numpy(rows.loc[(image, part), "levels"].astype(float)).view(1, 3, 4)
            entropy = float(normalized_entropy(shares))
            assert entropy == pytest.approx(counted.loc[image, f"entropy{name}"], abs=2e-3)


def test_stored_maps_are_small(tmp_path: Path) -> None:
    """What 64 maps of the largest grid take."""
    snapshot = with_maps(make_snapshot(samples=64), count=64, grid=(14, 14))
    stored_maps(snapshot).to_parquet(tmp_path / "focus_maps.parquet")
    assert (tmp_path / "focus_maps.parquet").stat().st_size < 50_000


def test_which_maps_are_not_stored() -> None:
    snapshot = with_maps(make_snapshot())
    # No picture leaves the training; and none is drawn without a space.
    assert stored_maps(snapshot, n_images=0) is None
    assert "focus_maps" not in found_in(snapshot).tables
    other = stored_maps(replace(snapshot, features=snapshot.features * 1.01))
    assert set(other["part"]) == {"all"}
    full = stored_maps(with_maps(make_snapshot(samples=90, classes=15)))
    assert set(full["part"]) == {"all", "seen"}
    one = stored_maps(with_maps(make_snapshot(), grid=(1, 1)))
    assert len(one) == 0
    assert list(one.columns) == [column.name for column in TABLES["focus_maps"].columns]
