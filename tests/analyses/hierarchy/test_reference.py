from __future__ import annotations

import numpy as np
import pytest

from sing_monitor.analyses.hierarchy.ancestors import common_ancestors
from sing_monitor.analyses.hierarchy.reference import (
    describe_reference,
    find_reference,
    parents_of,
)
from sing_monitor.analyses.hierarchy.wordnet import wordnet
from sing_monitor.inputs.imagenet_names import imagenet_names

TREE = {
    "cat": ("animal", "pet"),
    "dog": ("animal", "pet"),
    "cow": ("animal",),
    "car": ("machine",),
}


def test_depths_and_ways_of_a_tree() -> None:
    found = common_ancestors(list(TREE), parents_of(TREE))
    # One root above animals and machines.
    assert found.depth.tolist() == [[4, 3, 2, 1], [3, 4, 2, 1], [2, 2, 3, 1], [1, 1, 1, 3]]
    ways = [[0, 2, 3, 5], [2, 0, 3, 5], [3, 3, 0, 4], [5, 5, 4, 0]]
    np.testing.assert_allclose(found.path_similarity, 1 / (np.array(ways) + 1))
    assert [found.names[node] for node in found.node[0]] == ["cat", "pet", "animal", "(root)"]


def test_superclasses_have_two_depths() -> None:
    reference = find_reference(["a", "b", "c"], {"a": ("x",), "b": ("x",), "c": ("y",)})
    assert reference is not None
    assert reference.common.depth[np.triu_indices(3, 1)].tolist() == [2, 1, 1]
    assert reference.chance == 4 / 3
    assert reference.best == 1.5


def test_a_class_may_be_an_ancestor_of_another() -> None:
    found = common_ancestors(["dog", "poodle"], {"dog": [], "poodle": ["dog"]})
    assert found.depth.tolist() == [[1, 1], [1, 2]]
    assert found.names[found.node[0, 1]] == "dog"
    assert found.path_similarity[0, 1] == 1 / 2


def test_of_several_ancestors_the_farthest_from_the_root_is_taken() -> None:
    # Each lies right below the root, and below the one before: of three equals the first by name
    # is taken, and its depth is that of the longest way.
    parents = {
        "root": [], "long": ["root"], "longer": ["long", "root"], "both": ["longer", "root"],
        "a": ["both", "long"], "b": ["both", "long"],
    }  # fmt: skip
    found = common_ancestors(["a", "b"], parents)
    assert found.names[found.node[0, 1]] == "both"
    assert found.depth[0, 1] == 4
    named = common_ancestors(["a", "b"], parents, {"both": "z"})
    assert named.names[named.node[0, 1]] == "long"
    assert named.depth[0, 1] == 2


@pytest.mark.parametrize(
    ("classes", "parents", "message"),
    [
        ([], {}, "there is no class"),
        (["a"], {}, "nothing is said of 'a'"),
        (["a"], {"a": ["b"], "b": ["a"]}, "its own ancestor: (a > b > a|b > a > b)"),
    ],
)
def test_what_is_no_hierarchy_is_refused(
    classes: list[str], parents: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        common_ancestors(classes, parents)


def test_the_user_s_hierarchy_comes_first() -> None:
    given = {"tench": ("fish",), "goldfish": ("fish",)}
    reference = find_reference(list(given), given)
    assert reference is not None
    assert reference.source == "given"
    assert reference.ancestor(0, 1) == "fish"
    assert describe_reference(list(given), given).startswith("given ")


def test_wordnet_stands_in_for_imagenet_classes_alone() -> None:
    reference = find_reference(["tench", "goldfish"], None)
    assert reference is not None
    assert reference.ancestor(0, 1) == "cyprinid"
    assert find_reference(["tench", "unicorn"], None) is None
    assert describe_reference(["tench", "goldfish"], None) == "wordnet"
    assert describe_reference(["zero", "one"], None) == "none"


def test_digests_tell_hierarchies_apart_whatever_the_order_of_the_classes() -> None:
    one = describe_reference(list(TREE), TREE)
    assert one == describe_reference(list(TREE), dict(reversed(TREE.items())))
    assert one != describe_reference(list(TREE), {**TREE, "cow": ()})


def test_a_class_that_the_hierarchy_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="says nothing of 'dog'"):
        find_reference(["cat", "dog"], {"cat": ()})


def test_libraries_name_the_classes_of_imagenet_as_the_package_knows_them() -> None:
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo
    from torchvision.models import ResNet18_Weights

    ids = ImageNetInfo().label_names()
    assert wordnet().synsets(ids) == tuple(ids)
    assert wordnet().synsets(list(imagenet_names(ids).values())) == tuple(ids)
    assert wordnet().synsets(ResNet18_Weights.DEFAULT.meta["categories"]) == tuple(ids)
    # Of two pairs open_clip gives both the same name, and no order is taken for granted.
    once = [
        (name, each)
        for name, each in zip(IMAGENET_CLASSNAMES, ids, strict=True)
        if IMAGENET_CLASSNAMES.count(name) == 1
    ]
    assert len(once) == 996
    assert wordnet().synsets([name for name, _ in once]) == tuple(each for _, each in once)


def test_synonyms_and_spellings_are_known() -> None:
    assert wordnet().synsets(["Carassius_auratus", "white shark"]) == ("n01443537", "n01484850")
    # "crane" is two classes: who names them by lemmas does not say which.
    assert wordnet().synsets(["crane", "Tinca tinca"]) is None
    bird, machine = wordnet().synsets(["crane bird", "crane"])
    assert (bird, machine) == ("n02012849", "n03126707")
