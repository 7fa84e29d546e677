from __future__ import annotations

from pathlib import Path

import pytest

from sing_monitor.errors import SetupError
from sing_monitor.inputs.hierarchies import resolve_hierarchy

NAMES = ("polar bear", "cat", "car")
PATHS = {
    "polar bear": ("animal", "bear"),
    "cat": ("animal",),
    "car": ("machine", "vehicle"),
}


def refused(given: object, names: tuple[str, ...] = NAMES) -> str:
    with pytest.raises(SetupError) as caught:
        resolve_hierarchy(given, names)
    assert str(caught.value).startswith("hierarchy=...: ")
    return str(caught.value)


def csv_file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "classes.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_nothing_stays_nothing() -> None:
    assert resolve_hierarchy(None, NAMES) is None


def test_paths_come_in_the_order_of_the_classes() -> None:
    given = {"car": ["machine", "vehicle"], "Polar_Bear": ("animal", " bear "), "cat": ["animal"]}
    found = resolve_hierarchy(given, NAMES)
    assert found == PATHS
    assert list(found) == list(NAMES)


def test_superclasses_are_paths_of_one() -> None:
    given = {"polar bear": "animal", "cat": "animal", "car": "machine"}
    found = resolve_hierarchy(given, NAMES)
    assert found == {"polar bear": ("animal",), "cat": ("animal",), "car": ("machine",)}


def test_a_class_may_stand_alone_or_above_another() -> None:
    given = {"bear": [], "polar bear": ["bear"]}
    found = resolve_hierarchy(given, ("polar bear", "bear"))
    assert found == {"polar bear": ("bear",), "bear": ()}


@pytest.mark.parametrize(
    "text",
    [
        "animal,bear,polar bear\nanimal,cat\nmachine,vehicle,car\n",
        "polar bear,bear,animal\ncat,animal\ncar,vehicle,machine\n",
        "kingdom,group,class\nanimal,bear,polar_bear\nanimal,cat,\nmachine, vehicle ,Car\n\n",
        "class,group,kingdom\npolar bear,bear,animal\ncat,,animal\ncar,vehicle,machine",
        "animal;bear;polar bear\r\nanimal;;cat\r\nmachine;vehicle;car\r\n",
        "class\tgroup\tkingdom\npolar bear\tbear\tanimal\ncat\t\tanimal\ncar\tvehicle\tmachine",
    ],
)
def test_files_have_the_class_last_or_first(tmp_path: Path, text: str) -> None:
    path = csv_file(tmp_path, text, "utf-8-sig")
    assert resolve_hierarchy(path, NAMES) == PATHS
    assert resolve_hierarchy(str(path), NAMES) == PATHS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({**PATHS, "unicorn": ()}, "'unicorn' is no class. The classes are 'polar bear', 'cat'"),
        ({"cat": "animal"}, "nothing is said of 'polar bear', 'car'"),
        ({**PATHS, "Cat": ("animal",)}, "'cat' has two paths"),
        ({**PATHS, "cat": ("animal", "cat")}, "'cat' stands under itself in animal > cat > cat"),
        ({**PATHS, "car": ("a", "b", "a")}, "'a' stands under itself"),
        (
            {**PATHS, "cat": ("pet", "bear")},
            "'bear' stands under 'animal' for the class 'polar bear' and under 'pet' for 'cat'",
        ),
        (
            {**PATHS, "cat": ("bear", "animal")},
            "'bear' stands under 'animal' for the class 'polar bear' and under nothing for 'cat'",
        ),
    ],
)
def test_what_is_no_tree_of_the_classes_is_refused(given: object, message: str) -> None:
    assert message in refused(given)


def test_files_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    assert "cannot be read as a CSV file" in refused(tmp_path / "none.csv")
    assert "is empty" in refused(csv_file(tmp_path, "\n,,\n"))
    rows = "animal,bear,polar bear\nanimal,cat\nmachine,car\nmachine,cat\n"
    assert "'cat' has two paths" in refused(csv_file(tmp_path, rows))
    rows = "animal,bear,polar bear\nanimal,cat\nmachine,car\nmachine,bus\n"
    assert "'bus' is no class" in refused(csv_file(tmp_path, rows))
    path = tmp_path / "latin.csv"
    path.write_bytes("tier,k\xe4tzchen\n".encode("latin-1"))
    assert "cannot be read as a CSV file" in refused(path)


def test_the_case_of_letters_counts_where_it_alone_tells_classes_apart() -> None:
    given = {"Cardigan": ("dog",), "cardigan": ("jacket",), "POODLE": ("dog",)}
    found = resolve_hierarchy(given, ("Cardigan", "cardigan", "poodle"))
    assert found == {"Cardigan": ("dog",), "cardigan": ("jacket",), "poodle": ("dog",)}
    assert "'CARDIGAN' is no class" in refused({"CARDIGAN": ()}, ("Cardigan", "cardigan"))


def test_many_names_are_not_all_listed() -> None:
    names = tuple(f"class {c}" for c in range(100))
    assert "'class 0', 'class 1', 'class 2' and 97 more" in refused({}, names)
