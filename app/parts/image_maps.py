"""Where in an image its head looks, and where its Attribute Score comes from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from sing_monitor.app.charts import maps as charts
from sing_monitor.app.charts.maps import MapLabels
from sing_monitor.app.model import model_results
from sing_monitor.app.model.model_results import MappedImage
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.parts.structure.focus import draw_focus
from sing_monitor.app.read import snapshot_images
from sing_monitor.app.read.snapshot_images import FittedSnapshot
from sing_monitor.app.ui import states
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.wording.removals import Removal
from sing_monitor.app.wording.text import plain
from sing_monitor.commands.app_options import ModelSource
from sing_monitor.explain.maps import NotAveragedError
from sing_monitor.tracking import ArtifactNotFoundError

NO_MODEL = (
    "Maps of where in the image its scores come from need the model and the pixels of the probe: "
    "start the app with `--checkpoint` and `--data` (see `sing-monitor app --help`)."
)
_NOT_AVERAGED = (
    "No maps: they need a head that reads the mean over the locations of a feature map. What "
    "this one reads (class tokens, attention pooling, or a norm after the pooling) cannot be "
    "split over locations."
)


def draw_probe_maps(
    view: ImageView,
    model: ModelSource | None,
    image: str,
    at: tuple[int, int],
    *,
    with_focus: bool = False,
) -> None:
    """The maps of a probe image, or one line that says why there are none.

    Args:
        view: what is shown.
        model: of the command line, or None.
        image: its id.
        at: epoch and global step that the page stands at.
        with_focus: whether to show where its features stand, too.
    """
    if model is None or model.data is None:
        st.caption(NO_MODEL)
        return

    def read() -> FittedSnapshot | None:
        try:
            return snapshot_images.read(view.run.source)
        except ArtifactNotFoundError:
            st.caption(
                "No maps: they need the run's snapshot, which SINGCallback(save_snapshots=True) "
                "stores."
            )
            return None

    fitted = states.attempt(read, view.run)
    if fitted is not None and fitted.at != at:
        st.caption(
            f"Maps of the image are known for epoch {fitted.at[0]} alone, that of the snapshot. "
            "Move the slider there to see them."
        )
    elif fitted is not None:
        label = fitted.snapshot.labels[fitted.ids.index(image)] if image in fitted.ids else -1
        maps = partial(model_results.probe_maps, view.run.source, model, image, view.removal)
        draw_maps(view, maps, view.name(int(label)), with_focus=with_focus)


def draw_maps(
    view: ImageView, read: Callable[[], MappedImage], toward: str, *, with_focus: bool
) -> None:
    """An image and three maps of it, or one line that says why there are none.

    Args:
        view: what is shown.
        read: gives the maps, or raises as the functions of `model_results`.
        toward: the class that AS refers to.
        with_focus: whether to show where its features stand, too.
    """

    def attempt() -> MappedImage | None:
        try:
            return read()
        except NotAveragedError:
            st.caption(_NOT_AVERAGED)
            return None

    found = states.attempt(attempt, view.run)
    if found is None:
        return
    st.subheader("Where in the image", anchor=False)
    score, null, principal = (
        each[0].double()
        for each in (
            found.maps.attribute_score,
            found.maps.null_energy,
            found.maps.principal_energy,
        )
    )
    share = float(null.sum() / (null + principal).sum())
    st.caption(
        f"Exact for this head, which reads the mean over {len(score)} by {len(score[0])} "
        f"locations. The contributions add up to the AS of the image, {float(score.sum()):+.2f}°, "
        f"toward {plain(toward)}; {view.removal} null removal. The head cannot see {share:.0%} of "
        "the energy; each map has its own scale."
    )
    under = charts.gray(found.picture)
    with st.grid(min_column_width=charts.SIZE + 8, gap="small") as grid:
        with grid.cell(), st.container(gap=None):
            st.markdown("**The image**")
            st.caption("as the model sees it")
            large = charts.enlarged(found.picture)
            said = "The image as the model sees it"
            st.image(large, width=charts.SIZE, output_format="PNG", alt=said)
        for values, about in zip((score, null, principal), _maps(view.removal), strict=True):
            with grid.cell():
                show_chart(
                    charts.overlay,
                    charts.locations(values.numpy()),
                    under,
                    about,
                    key=f"map {about.title}",
                    alt_text=f"{about.title} at each location of the image; run {view.run.label}",
                    width="content",
                )
    if with_focus:
        st.subheader("Where its features stand", anchor=False)
        draw_focus(view, found.focus, found.picture)


def _maps(removal: Removal) -> tuple[MapLabels, MapLabels, MapLabels]:
    center = " - μ" if removal == "centered" else ""
    about = "blue: toward the class", "once the null part is gone"
    unit = "squared feature units"
    return (
        MapLabels("Contribution to AS", about, "degrees", is_signed=True),
        MapLabels("Null energy", ("what the head cannot see", f"|P_n (F{center})|²"), unit),
        MapLabels("Principal energy", ("what the head sees", f"|P_p (F{center})|²"), unit),
    )
