from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sing_monitor.analyses import TABLES, analyze, catalogue_of
from sing_monitor.analyses.similarity import match, similarity_matrices
from sing_monitor.analyses.similarity.agreement import cka, jensen_shannon, pair_correlation
from sing_monitor.analyses.similarity.analysis import (
    ALIGNMENT,
    ANALYSIS,
    analyze_alignment,
    analyze_similarity,
)
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.findings import Findings, check_tables
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot, hex_id, hex_ids
from tests.helpers import generator, make_snapshot, make_texts, normal, reorder, with_maps

KEYS = {spec.key for spec in ANALYSIS.metrics}


def mapped(count: int = 20, grid: tuple[int, int] = (3, 4), **options: int) -> Snapshot:
    return with_maps(make_snapshot(**options), count, grid)


def found_in(snapshot: Snapshot, previous: dict[str, Tensor] | None = None) -> Findings:
    findings = analyze_similarity(Observation(snapshot, previous=previous or {}))
    assert findings.scalars.keys() == KEYS
    check_tables(findings.tables, TABLES.values())
    return findings


def test_every_number_word_for_word() -> None:
    snapshot = mapped()
    order = snapshot.maps.image_ids.argsort()
    cosines = similarity_matrices(snapshot.maps.values[order]).cosine()
    divergence = jensen_shannon(snapshot.logits.softmax(dim=1)[order])
    labels = snapshot.labels[order]
    pairs = torch.triu_indices(20, 20, 1)

    def right(similarity: Tensor) -> float:
        others = similarity - 9 * torch.eye(20)
        return float((labels[others.argmax(dim=1)] == labels).double().mean())

    semantic, spatial = (
        pair_correlation(each, divergence) for each in (cosines.semantic, cosines.spatial)
    )
    means = [float(each[pairs[0], pairs[1]].mean()) for each in cosines]
    expected = {
        "jsd_semantic": semantic,
        "jsd_spatial": spatial,
        "jsd_gain": spatial - semantic,
        "gain": means[1] / means[0] - 1,
        "cka": cka(*cosines),
        "drift": math.nan,
        "retrieval_semantic": right(cosines.semantic),
        "retrieval_spatial": right(cosines.spatial),
        "images": 20,
    }
    found = {key.partition("/")[2]: value for key, value in found_in(snapshot).scalars.items()}
    assert found == pytest.approx(expected, nan_ok=True)
    assert found["gain"] > 0
    assert found["jsd_semantic"] < 0


def test_the_pairs_and_their_strongest_positions() -> None:
    snapshot = mapped(9)
    table = found_in(snapshot).tables["similarity"]
    assert len(table) == 9 * 8 // 2
    rows = {hex_id(image): row for row, image in enumerate(snapshot.ids.tolist())}
    matrices = similarity_matrices(snapshot.maps.values)
    vectors = snapshot.maps.values.flatten(2).transpose(1, 2)
    for each in table.itertuples():
        i, j = rows[each.image_a], rows[each.image_b]
        assert int(snapshot.ids[i]) < int(snapshot.ids[j])
        assert each.spatial == pytest.approx(float(matrices.cosine().spatial[i, j]))
        assert each.semantic == pytest.approx(float(matrices.cosine().semantic[i, j]))
        partner = match(vectors[i], vectors[j])
        assert partner[each.positions_a].tolist() == each.positions_b
        strengths = (vectors[i] * vectors[j][partner]).sum(dim=1)
        assert strengths.argsort(descending=True)[:8].tolist() == each.positions_a
        if float(strengths.sum()) > 0:
            best = (strengths / strengths.sum())[each.positions_a]
            assert each.strengths == pytest.approx(best.tolist())


def test_the_images_and_their_nearest() -> None:
    snapshot = mapped(9)
    findings = found_in(snapshot)
    table = findings.tables["similarity_images"]
    ids = snapshot.ids[:9].sort().values
    assert list(table["image"]) == hex_ids(ids)
    assert findings.pictured == set(hex_ids(ids))
    assert set(table["height"]) == {3}
    assert set(table["width"]) == {4}
    by_id = dict(zip(hex_ids(snapshot.ids), range(len(snapshot)), strict=True))
    pairs = findings.tables["similarity"]
    for each in table.itertuples():
        row = by_id[each.image]
        assert table.loc[each.Index, "class"] == snapshot.class_names[snapshot.labels[row]]
        assert each.prediction == snapshot.class_names[snapshot.predictions[row]]
        own = pairs[(pairs["image_a"] == each.image) | (pairs["image_b"] == each.image)]
        for kind in ("spatial", "semantic"):
            best = own.sort_values(kind, ascending=False).iloc[:3]
            others = [a if a != each.image else b for a, b in best[["image_a", "image_b"]].values]
            assert getattr(each, f"nearest_{kind}") == others


def test_alignment_is_that_with_the_embeddings() -> None:
    snapshot = mapped()
    z = torch.nn.functional.normalize(snapshot.embeddings[:20], dim=1)
    expected = cka(similarity_matrices(snapshot.maps.values).cosine().semantic, z @ z.T)
    found = analyze_alignment(Observation(snapshot, make_texts(snapshot))).scalars
    assert found == {"similarity/alignment": pytest.approx(expected)}
    few = Observation(mapped(7), make_texts(snapshot))
    assert math.isnan(analyze_alignment(few).scalars["similarity/alignment"])


def test_the_order_of_images_and_maps_does_not_matter() -> None:
    snapshot = mapped()
    expected = found_in(snapshot)
    order = torch.randperm(len(snapshot), generator=generator(1))
    shuffled = reorder(snapshot, order)
    maps = snapshot.maps
    turned = FeatureMaps(maps.image_ids.flip(0), maps.values.flip(0))
    found = found_in(replace(shuffled, maps=turned))
    assert found.scalars == pytest.approx(expected.scalars, nan_ok=True)
    for name, table in expected.tables.items():
        assert found.tables[name]["image" if "image" in table else "image_a"].equals(
            table["image" if "image" in table else "image_a"]
        )


def test_drift_is_measured_on_the_images_of_both() -> None:
    snapshot = mapped(20)
    kept = found_in(snapshot).kept
    assert found_in(snapshot, kept).scalars["similarity/drift"] == pytest.approx(0, abs=1e-6)
    maps = snapshot.maps
    later = FeatureMaps(maps.image_ids[10:], normal(10, 12, 3, 4, seed=9))
    found = found_in(replace(snapshot, maps=later), kept).scalars["similarity/drift"]
    before, now = (
        similarity_matrices(values).cosine().semantic for values in (maps.values[10:], later.values)
    )
    assert found == pytest.approx(1 - cka(before, now), abs=1e-6)
    fewer = FeatureMaps(maps.image_ids[13:], maps.values[13:])
    many_others = {
        "similarity/semantic": torch.eye(30),
        "similarity/images": torch.arange(30) + 10**17,
    }
    for previous, now_maps in ((kept, fewer), (many_others, maps), ({}, maps)):
        drift = found_in(replace(snapshot, maps=now_maps), previous).scalars["similarity/drift"]
        assert math.isnan(drift)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_images_give_tables_alone(count: int) -> None:
    found = found_in(mapped(count))
    assert found.scalars.pop("similarity/images") == count
    assert all(math.isnan(value) for value in found.scalars.values())
    assert len(found.tables["similarity"]) == count * (count - 1) // 2
    assert len(found.tables["similarity_images"]) == count


def test_maps_of_zeros_and_of_strangers_are_left_out() -> None:
    snapshot = mapped(20)
    values = snapshot.maps.values.clone()
    values[3] = 0
    ids = snapshot.maps.image_ids.clone()
    ids[5] = 10**17 + 1
    found = found_in(replace(snapshot, maps=FeatureMaps(ids, values)))
    assert found.scalars["similarity/images"] == 18
    left = snapshot.ids[[i for i in range(20) if i not in (3, 5)]]
    assert set(found.tables["similarity_images"]["image"]) == set(hex_ids(left))
    assert not found.tables["similarity"].isna().any(axis=None)


def test_equal_answers_and_one_position() -> None:
    snapshot = mapped(12, grid=(1, 1))
    found = found_in(snapshot).scalars
    assert found["similarity/gain"] == pytest.approx(0, abs=1e-9)
    assert found["similarity/cka"] == pytest.approx(1)
    assert found["similarity/jsd_gain"] == pytest.approx(0, abs=1e-9)
    same = replace(snapshot, weight=torch.zeros_like(snapshot.weight))
    found = found_in(same).scalars
    assert math.isnan(found["similarity/jsd_semantic"])
    assert math.isnan(found["similarity/jsd_gain"])
    assert not math.isnan(found["similarity/cka"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    snapshot = mapped()
    maps = FeatureMaps(snapshot.maps.image_ids, snapshot.maps.values.to(dtype))
    found = found_in(replace(snapshot, maps=maps)).scalars
    expected = found_in(snapshot).scalars
    for name in ("jsd_semantic", "cka", "gain"):
        key = f"similarity/{name}"
        assert found[key] == pytest.approx(expected[key], abs=0.02)


@pytest.mark.parametrize(("classes", "samples"), [(2, 40), (1000, 60)])
def test_few_and_many_classes(classes: int, samples: int) -> None:
    found = found_in(mapped(40, classes=classes, samples=samples)).scalars
    assert not math.isnan(found["similarity/jsd_semantic"])
    # Of 1,000 classes in turn none has a second image.
    assert math.isnan(found["similarity/retrieval_semantic"]) == (classes == 1000)


def test_many_positions_are_matched_by_windows() -> None:
    snapshot = mapped(8, grid=(17, 16))
    maps = snapshot.maps.values[snapshot.maps.image_ids.argsort()]
    found = torch.tensor(found_in(snapshot).tables["similarity"]["semantic"])
    exact, windows = (
        similarity_matrices(maps, matcher).cosine().semantic[*torch.triu_indices(8, 8, 1)]
        for matcher in ("optimal", "batch_optimal")
    )
    torch.testing.assert_close(found, windows)
    assert not torch.allclose(found, exact, rtol=1e-4)


def test_all_analyses_run_with_maps_in_fewer_coordinates() -> None:
    snapshot = mapped(20, feature_dim=400)
    found = analyze(snapshot, make_texts(snapshot), ridge=0.01)
    assert found.scalars.keys() >= KEYS | {"similarity/alignment"}
    expected = found_in(snapshot).scalars
    assert {key: found.scalars[key] for key in KEYS} == pytest.approx(expected, nan_ok=True)
    assert {"similarity", "similarity_images"} <= found.tables.keys()


def test_without_maps_the_analysis_is_left_out() -> None:
    found = analyze(replace(mapped(), maps=None), None, ridge=0.01)
    assert not KEYS & found.scalars.keys()
    assert KEYS <= {spec.key for spec in catalogue_of({"labels", "maps"})}
    assert not KEYS & {spec.key for spec in catalogue_of({"labels"})}
    assert "similarity/alignment" in {
        spec.key for spec in catalogue_of({"labels", "embeddings", "maps"})
    }
    assert {"labels", "maps", "embeddings"} == ALIGNMENT.needs
    with pytest.raises(ValueError, match="needs feature maps"):
        analyze_similarity(Observation(make_snapshot()))
