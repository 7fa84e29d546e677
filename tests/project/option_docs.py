"""Write the arguments into docstrings, from the options' help: SINGCallback, Monitor, analyze.

``make readme`` calls it; a test holds that the docstrings are what it writes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from sing_monitor.monitor.options import Options, help_of
from sing_monitor.monitor.plain.options import MonitorOptions
from sing_monitor.offline.analyze import AnalyzeOptions

ROOT = Path(__file__).parents[2]
_LOADER = {
    "model": "maps images to logits; any module, or a LightningModule.",
    "loader": "of the images to judge by; the batches that ``SINGCallback`` reads.",
}
_MODEL = {"model": "maps images to logits: the one that trains, wrapped or not."}
_MONITOR = help_of(MonitorOptions)
# What belongs to the run comes first: nobody else asks for it.
_OF_THE_RUN = [name for name in _MONITOR if name not in help_of(Options)]
DOCUMENTED = {
    ROOT / "callbacks" / "sing.py": help_of(Options),
    ROOT / "sing_monitor" / "monitor" / "plain" / "monitor.py": {
        **_MODEL,
        **{name: _MONITOR[name] for name in _OF_THE_RUN},
        **_MONITOR,
    },
    ROOT / "sing_monitor" / "offline" / "analyze.py": {**_LOADER, **help_of(AnalyzeOptions)},
}
_DEFINED = ("class SINGCallback", "class Monitor:", "def analyze(")
# The block behind the definition that takes options: it ends at an empty line.
_BLOCK = re.compile(r"    Args:\n(?:        .*\n)+(?=\n    (?:Raises|Returns):)")


def block(texts: Mapping[str, str]) -> str:
    """The section of a docstring, in Google's style."""
    wrapped = (
        textwrap.fill(
            f"{name}: {text}",
            100,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in texts.items()
    )
    return "    Args:\n" + "\n".join(wrapped) + "\n"


def written(path: Path) -> str:
    """A source file with the section as it should be."""
    source = path.read_text("utf-8")
    start = max(source.find(defined) for defined in _DEFINED)
    match = _BLOCK.search(source, start)
    if match is None:
        raise ValueError(f"{path} has no section of arguments.")
    return source[: match.start()] + block(DOCUMENTED[path]) + source[match.end() :]


if __name__ == "__main__":
    for each in DOCUMENTED:
        each.write_text(written(each), "utf-8")
