"""The README's table of metrics.

`python -m tests.project.readme_table` writes it anew (`make readme`).
"""

from __future__ import annotations

import re
from pathlib import Path

from sing_monitor.analyses import CATALOGUE
from sing_monitor.findings import markdown_table

README = Path(__file__).parents[2] / "README.md"
_TABLE = re.compile(r"(<!-- metrics:begin[^>]*-->\n).*?(<!-- metrics:end -->)", re.DOTALL)


def with_table(text: str) -> str:
    """The README with the table of the present catalogue."""
    table = markdown_table(CATALOGUE)
    return _TABLE.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8")), "utf-8")
