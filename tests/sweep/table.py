"""docs/heads.md: what the sweep found, as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import groupby

from tests.sweep.sweep import Row
from tests.sweep.verdict import Verdict

_INTRODUCTION = """# Heads that are found

`make sweep` builds public architectures with random weights, finds out by running each which layer
computes its answer, and then asks the monitor three times: `analyze` on the model, `check` on a
LightningModule whose `forward` returns the logits, and `check` on one that has a validation step
alone, where nobody sees the answer. timm: the smallest model of every module file and some more;
torchvision: every classifier; transformers: every `*ForImageClassification`, with a small random
configuration. Weights are those of the model's own initialization. `make sweep` writes this page.

- **right**: the layer that is watched is the one that gives the answer; in `analyze`, its W f + b
  on the captured features is the answer, number for number.
- **refused: no one layer gives the answer**: two heads are averaged, or something follows the last
  linear layer. There is no head whose null space is the model's.
- **refused with a working advice**: what the sentence advises was followed, and is right.
- Everything else is a fault: another layer is watched (wrong), a model is refused that has a head
  (wrongly refused), an advice does not work, or an error of another kind comes up (crashed).
"""
_NOT_RUN = "not run"
_LONGEST = 160


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    used = ", ".join(f"{name} {version(name)}" for name in ("timm", "torchvision", "transformers"))
    counts = Counter(_verdict(row) for row in rows)
    lines = [_INTRODUCTION, f"{len(rows)} architectures of {used}:", ""]
    lines += _table(("verdict", "architectures"), counts.most_common())
    for library, members in groupby(rows, key=lambda row: row.library):
        lines += ["", f"## {library}", ""]
        lines += _table(("model", "head", "C x m", "verdict", "in words"), map(_cells, members))
    return "\n".join(lines) + "\n"


def _verdict(row: Row) -> str:
    return _NOT_RUN if row.worst is None else str(row.worst.verdict)


def _cells(row: Row) -> tuple[str, ...]:
    model = row.key if row.model in ("", row.key) else f"{row.key}: {row.model}"
    head = ", ".join(f"`{name}`" for name in row.heads) or "none"
    words = row.reason if row.worst is None else row.worst.words
    if row.worst is not None and row.worst.verdict is Verdict.WRONG:
        words = f"watched: `{row.worst.head}`"
    if row.faults and len(row.faults) < len(row.outcomes):
        words = f"{', '.join(row.faults)}: {words}"
    if row.is_zero:
        words = " ".join(filter(None, ["All images get the same logits before training.", words]))
    return model, head, row.shape, _verdict(row), _first_words(words)


def _first_words(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= _LONGEST else line[:_LONGEST].rsplit(" ", 1)[0] + " ..."


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
