"""What stands around the curves of one metric: title, axes, and the first lines of a tooltip."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import altair as alt

from sing_monitor.app.charts.common import chart_title, line_title
from sing_monitor.app.wording.metrics import MISSING


@dataclass(frozen=True)
class Panel:
    """What a panel says around its curves.

    Args:
        title: the metric.
        unit: of the values, in words; may be empty.
        direction: which values are good; may be empty.
        number_format: of the values, d3.
        x_title: what the axis counts.
        x_domain: the same for all panels of a page.
        caveat: why the curves do not compare; may be empty.
        is_difference: values are differences to the baseline.
    """

    title: str
    unit: str
    direction: str
    number_format: str
    x_title: str
    x_domain: tuple[float, float]
    caveat: str = ""
    is_difference: bool = False

    @property
    def heading(self) -> alt.TitleParams:
        """The metric, with its unit and direction below, and the caveat."""
        about = " · ".join(filter(None, (self.unit, self.direction)))
        return chart_title(self.title, about, f"⚠ {self.caveat}" if self.caveat else "")

    def x(self) -> alt.X:
        """The axis that all panels of a page share."""
        whole = self.x_title in ("epoch", "global step")
        axis = alt.Axis(format="d", tickMinStep=1) if whole else alt.Axis()
        scale = alt.Scale(domain=list(self.x_domain), nice=False)
        return alt.X("x:Q", title=self.x_title, scale=scale, axis=axis.copy())

    def y(self, field: str = "value") -> alt.Y:
        """The axis of a column of values."""
        name = "difference to the baseline" if self.is_difference else self.unit
        axis = alt.Axis(format=".6~g", tickCount=5)
        return alt.Y(f"{field}:Q", title=name or None, scale=alt.Scale(zero=False), axis=axis)

    def change(self, difference: float) -> str:
        """A difference with its sign; a dash where there is none."""
        return format(difference, f"+z{self.number_format}") if isfinite(difference) else MISSING

    def tooltip(self, *more: alt.Tooltip) -> list[alt.Tooltip]:
        """Run, epoch and value, then more."""
        return [
            alt.Tooltip("label:N", title="run"),
            alt.Tooltip("epoch:Q", title="epoch", format="d"),
            alt.Tooltip("value:Q", title=line_title(self.title), format=self.number_format),
            *more,
        ]
