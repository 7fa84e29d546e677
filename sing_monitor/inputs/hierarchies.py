"""The option ``hierarchy``: ancestors of the classes, from a mapping or a CSV file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from sing_monitor.errors import Option, SetupError

Given = Mapping[str, str | Sequence[str]] | str | PathLike[str]

_HIERARCHY = Option("hierarchy")
_MOST_NAMED = 3
# Where a comma stands for the decimal point, spreadsheets write semicolons.
_DELIMITERS = ",;\t"


def resolve_hierarchy(
    given: Given | None, class_names: Sequence[str]
) -> dict[str, tuple[str, ...]] | None:
    """Ancestors of every class, the most general first, without the class itself.

    A mapping has for each class the name of its superclass, or the path of its ancestors, the most
    general first; an empty path for a class that stands alone. A CSV file (UTF-8; commas, or else
    semicolons or tabs, as spreadsheets write them) has one path a row, either from the most general
    ancestor to the class, or from the class to its most general ancestor; which of the two is seen
    by where the class names stand. Rows may differ in length, and a first row without a class is a
    heading. Names of classes are found whatever their case, with underscores for spaces.

    Args:
        given: by the user; None: nothing.
        class_names: C names, in the order of the labels.

    Returns:
        Ancestors by class name, for every class; None where nothing was given.

    Raises:
        SetupError: if a class is missing, twice there or unknown, if a name stands under two
            parents or under itself, or the file cannot be read.

    Example:
        >>> resolve_hierarchy({"polar_bear": "animal", "car": "machine"}, ["polar bear", "car"])
        {'polar bear': ('animal',), 'car': ('machine',)}
    """
    if given is None:
        return None
    known = _Names(class_names)
    if isinstance(given, Mapping):
        rows = [
            (name, (above,) if isinstance(above, str) else tuple(above))
            for name, above in given.items()
        ]
    else:
        rows = _rows(Path(given), known)
    unknown = [name for name, _ in rows if name not in known]
    if unknown:
        raise _refused(
            f"{_listed(unknown)} {'is no class' if len(unknown) == 1 else 'are no classes'}. The "
            f"classes are {_listed(class_names)}"
        )
    counts = Counter(known[name] for name, _ in rows)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise _refused(f"{_listed(twice)} has two paths; a class has one")
    missing = [name for name in class_names if name not in counts]
    if missing:
        raise _refused(
            f"nothing is said of {_listed(missing)}. Give the superclass or the path of every "
            "class; an empty path, [], for one that stands alone"
        )
    paths = {known[name]: tuple(part.strip() for part in above) for name, above in rows}
    _check_tree(paths)
    return {name: paths[name] for name in class_names}


class _Names:
    """Class names by how a user may write them.

    Args:
        class_names: C names.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        folded: dict[str, set[str]] = {}
        for name in class_names:
            folded.setdefault(_plain(name), set()).add(name)
        # Where the case of letters alone tells two classes apart, it counts.
        self._by_plain = {plain: min(names) for plain, names in folded.items() if len(names) == 1}
        self._exact = {name.strip(): name for name in class_names}

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str) -> str | None:
        """The class of that name, or None."""
        return self._exact.get(name.strip(), self._by_plain.get(_plain(name)))


def _rows(path: Path, known: _Names) -> list[tuple[str, tuple[str, ...]]]:
    """Class and ancestors, the most general first, of every row of a CSV file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(file)
        ways = [_cells(lines, delimiter) for delimiter in _DELIMITERS]
    except (OSError, UnicodeError, csv.Error) as error:
        raise _refused(f"{path} cannot be read as a CSV file: {error}") from error
    # The first of those by which most rows name a class.
    rows = max(ways, key=lambda rows: sum(row[0] in known or row[-1] in known for row in rows))
    if not rows:
        raise _refused(f"{path} is empty; give one path a row, such as animal,mammal,cat")
    if len(rows) > 1 and rows[0][0] not in known and rows[0][-1] not in known:
        rows = rows[1:]
    last, first = (sum(row[place] in known for row in rows) for place in (-1, 0))
    if last >= first:
        return [(row[-1], tuple(row[:-1])) for row in rows]
    return [(row[0], tuple(reversed(row[1:]))) for row in rows]


def _cells(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """What stands in each row; spreadsheets fill short rows with empty cells."""
    rows = csv.reader(lines, delimiter=delimiter)
    found = [[cell for each in row if (cell := each.strip())] for row in rows]
    return [row for row in found if row]


def _check_tree(paths: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse names that stand under two parents, or under themselves."""
    parents: dict[str, tuple[str, str]] = {}
    for name, above in paths.items():
        path = (*above, name)
        again = [each for each, count in Counter(path).items() if count > 1]
        if again:
            raise _refused(
                f"{_listed(again)} stands under itself in {' > '.join(path)}; leave it out, or "
                "name the group in another way"
            )
        for parent, node in zip(("", *above), path, strict=True):
            other, where = parents.setdefault(node, (parent, name))
            if other != parent:
                raise _refused(
                    f"{node!r} stands under {_or_nothing(other)} for the class {where!r} and under "
                    f"{_or_nothing(parent)} for {name!r}. Give both the same path, or give two "
                    "groups two names"
                )


def _or_nothing(name: str) -> str:
    return repr(name) if name else "nothing"


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    listed = ", ".join(map(repr, names[:_MOST_NAMED]))
    return f"{listed} and {more} more" if more > 0 else listed


def _refused(reason: str) -> SetupError:
    return SetupError(_HIERARCHY, f": {reason}.")
