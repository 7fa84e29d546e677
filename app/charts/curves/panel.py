"""What stands around the curves of one metric: title, axes, and the first lines of a tooltip."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from sing_monitor.app.charts.common import chart_title, line_title
from sing_monitor.app.charts.vega import Part, category, quantity
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
    def heading(self) -> Part:
        """The metric, with its unit and direction below, and the caveat."""
        about = " · ".join(filter(None, (self.unit, self.direction)))
        return chart_title(self.title, about, f"⚠ {self.caveat}" if self.caveat else "")

    def x(self) -> Part:
        """The axis that all panels of a page share."""
        whole = self.x_title in ("epoch", "global step")
        axis = {"format": "d", "tickMinStep": 1} if whole else {}
        scale = {"domain": list(self.x_domain), "nice": False}
        return quantity("x", title=self.x_title, scale=scale, axis=axis)

    def y(self, field: str = "value") -> Part:
        """The axis of a column of values."""
        name = "difference to the baseline" if self.is_difference else self.unit
        axis = {"format": ".6~g", "tickCount": 5}
        return quantity(field, title=name or None, scale={"zero": False}, axis=axis)

    def change(self, difference: float) -> str:
        """A difference with its sign; a dash where there is none."""
        return format(difference, f"+z{self.number_format}") if isfinite(difference) else MISSING

    def tooltip(self, *more: Part) -> list[Part]:
        """Run, epoch and value, then more."""
        return [
            category("label", title="run"),
            quantity("epoch", title="epoch", format="d"),
            quantity("value", title=line_title(self.title), format=self.number_format),
            *more,
        ]
