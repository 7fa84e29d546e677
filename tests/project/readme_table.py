"""Lists of metrics and tables in the README; `make readme` writes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from sing_monitor.analyses import CATALOGUE, IN_SPACE, TABLES
from sing_monitor.findings import markdown_table, markdown_tables

README = Path(__file__).parents[2] / "README.md"
_BETWEEN = r"(<!-- {0}:begin[^>]*-->\n).*?(<!-- {0}:end -->)"


def with_tables(text: str) -> str:
    """The README with the tables of the present catalogue."""
    tables = {
        "metrics": markdown_table(CATALOGUE, IN_SPACE),
        "tables": markdown_tables(TABLES.values()),
    }
    for name, table in tables.items():
        pattern = re.compile(_BETWEEN.format(name), re.DOTALL)
        text = pattern.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
