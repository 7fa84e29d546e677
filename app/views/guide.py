"""What the numbers mean: an introduction for newcomers, and every metric of the catalogue."""

from __future__ import annotations

import streamlit as st

from sing_monitor import analyses
from sing_monitor.app.read import alerts
from sing_monitor.app.wording import metrics, rescored, support_marks
from sing_monitor.app.wording.text import code, count, plain
from sing_monitor.findings import MetricSpec

INTRODUCTION = """\
A classifier ends in a **head**, a matrix that turns features into class scores. A head with fewer
classes than features cannot see every direction: whatever lies in its **null space** changes no
class score at all. Here you see what the features keep there, in words that a vision-language
model such as CLIP understands.

**Which number first.** *Class hidden*: the share of the images whose class can be read from the
whole feature and no longer from what the head sees of it. "4 % of the images tell their class only
in what the head cannot see." Beside it stand *class seen*, the retention by a refitted reader (how
much of what can be read of the class is left: 1 all, 0 nothing beyond chance), and the accuracy.
Each reader is
fitted anew for its part, on the other half of the images, so these numbers hardly move with the
strength of its regularization, and far less than degrees with the number of images.

**How it is read.** Each image of the validation set gives a feature. A linear **translator** takes
it into the space of the vision-language model; the nearest class text is what it says. One
translator reads the whole feature, one only the part that the head sees, one only the part that
the head cannot see. **Probes** do the same without a vision-language model: they go straight to
the label. A class is **hidden** if its own images are lost that way (the page Classes names them).

**The paper's scores.** Remove the part that the head cannot see: the new feature gets exactly the
same class scores. The translator of the whole feature, not fitted anew, reads both, and two angles
are measured:

- **Image Score (IS)**: how far the meaning of the image moved. Large: the head tolerates much.
- **Attribute Score (AS)**: how much nearer the meaning came to the text of its own class.
  Negative: class meaning went with what was removed.

AS is never larger than IS: it is the part of the movement that goes toward or away from the class.
A change of less than about 3° in AS or 10° in IS is barely visible. Both grow with the number of
probe images and follow the ridge, by more than models differ: compare degrees only between runs
that share both."""

TABLE = """\
| class hidden | class seen | what it says |
|---|---|---|
| near 0 | near 1 | What the features know of the class, the head sees. |
| well above 0 | well below 1 | The features know more of the class than the head reads. |
| near 0 | well below 1 | Rare: little can be read at all; look at zero-shot and at the probes. |
| near 0 | undefined | The vision-language model does not know the classes: read the probes. |

A mean AS near 0 does not prove that the class is seen: images may go opposite ways, and where both
parts say the same, nothing need move. IS / \\|AS\\| has no good direction."""

ADVICE = """\
**Read AS and IS against the random subspace.** A null space of 500 directions moves the meaning
farther than one of 10, whatever is in it. So the same measurement is made with a random subspace
of the same size, the dotted line in the color of the run. An IS *below* it: the null space moves
the meaning less than any subspace of its size would. An AS *on* it: removing any subspace would
have done the same to the class; *AS beyond random* is the difference. How much of the features'
variance each holds is the null energy.

**Of AS and IS, prefer the centered ones.** All features share a mean, and usually most of it lies
in the null space. The paper's pair removes it too, and then mostly measures one constant vector.
The centered pair keeps the mean and removes what differs from image to image.

**Look at the translator first.** If its R2 or cosine is low, features do not translate, and no
score means anything. Scores of different semantic spaces or references do not compare.

**Look at one image, and try to fool the head.** The page Explain shows a single image: its
nearest images and, where the run stored a snapshot, its concepts and logits before and after. The
page Steering shows how near to another class images come while no logit moves.

**Take it with you.** The address of the page restores what you see: copy it to share a view. Point
at a chart to save it as PNG or to see its numbers; the buttons below charts and tables save CSV."""

MARKS = f"""\
**Heed the marks.**

- A faint band, or a thin bar: a **95 % interval**. So far could the number have differed on other
  images of the same classes. Of classes and concepts the spread over single images is shown, and
  called so: it is no interval.
- A cross ({support_marks.MARK}): {support_marks.OUT_OF_SUPPORT} {support_marks.MARK_RULE}
- An arrow ({rescored.MARK}) before a name: the run is **rescored**. `sing-monitor rescore` analyzed
  the last validation of another run again, under another ridge.
- A triangle ({alerts.SIGN}): an **alert** fired. A number in it: so many fired here.
- A warning sign (\N{WARNING SIGN}) under a title: the curves do not compare. Runs differ in space,
  reference or invariance; or, for degrees, in ridge (by more than half a decade) or probe size (by
  more than a fifth); or the degrees of a run still grow with the probe (saturation below 0.9)."""


def matches(spec: MetricSpec, words: str) -> bool:
    """Whether a metric holds every word, in any case."""
    text = " ".join((spec.key, spec.label, spec.plain, spec.formula, spec.source)).lower()
    return all(word in text for word in words.lower().split())


def body() -> None:
    """Introduction, then the searchable catalogue."""
    st.title("Guide", anchor=False)
    st.caption("What the numbers mean and how to read them.")
    with st.expander("New here? How to read the numbers", expanded=True):
        st.markdown(INTRODUCTION)
        st.markdown(TABLE)
        st.markdown(ADVICE)
        st.markdown(MARKS)
    st.subheader("Every metric", anchor=False)
    words = st.text_input(
        "Search the metrics",
        key="about",
        bind="query-params",
        placeholder="Search: centered, shortcut, angle, rank, …",
        label_visibility="collapsed",
        icon=":material/search:",
    )
    titles = [group.title for group in metrics.groups()]
    title = st.pills(
        "Group",
        titles,
        default=titles[0],
        key="group",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
        disabled=bool(words),
    )
    found = [
        spec
        for spec in analyses.CATALOGUE
        if (matches(spec, words) if words else spec.group.title == title)
    ]
    if not found:
        st.info(f"No metric matches {plain(words or '')}.", icon=":material/search_off:")
        return
    st.caption(f"{count(len(found), 'metric')} of {len(analyses.CATALOGUE)}")
    with st.grid(min_column_width=380, border=True) as grid:
        for spec in found:
            with grid.cell():
                _card(spec)


def _card(spec: MetricSpec) -> None:
    st.markdown(f"**{plain(spec.label)}**")
    with st.container(horizontal=True, gap="xsmall"):
        if unit := metrics.unit_in_words(spec.unit):
            st.badge(unit, color="gray")
        if spec.better != "none":
            arrow = "arrow_upward" if spec.better == "higher" else "arrow_downward"
            st.badge(metrics.DIRECTIONS[spec.better], icon=f":material/{arrow}:", color="green")
    st.markdown(plain(spec.plain))
    st.code(spec.formula, language=None, wrap_lines=True)
    st.caption(f"{code(spec.key)} · {plain(spec.source)}")


body()
