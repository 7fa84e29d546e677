"""What the numbers mean: an introduction for newcomers, and every metric of the catalogue."""

from __future__ import annotations

import streamlit as st

from sing_monitor import analyses
from sing_monitor.app.read import alerts
from sing_monitor.app.wording import metrics, support_marks
from sing_monitor.app.wording.text import count, plain
from sing_monitor.findings import MetricSpec

INTRODUCTION = """\
A classifier ends in a **head**, a matrix that turns features into class scores. A head with fewer
classes than features cannot see every direction: whatever lies in its **null space** changes no
class score at all. Here you see what the features keep there, in words that a vision-language
model such as CLIP understands.

**How it is measured.** Each image of the validation set gives a feature. Remove the part that
the head cannot see: the new feature gets exactly the same class scores. A linear **translator**
takes both into the space of the vision-language model, where angles stand for meaning, and two
angles are measured:

- **Image Score (IS)**: how far the meaning of the image moved. Large: the head tolerates much.
- **Attribute Score (AS)**: how much nearer the meaning came to the text of its own class.
  Negative: class meaning was removed, so it had been *hidden from the head*. Near 0: the class
  stayed where it was, which is what one hopes for.

AS is never larger than IS: it is the part of the movement that goes toward or away from the class.
A change of less than about 3° in AS or 10° in IS is barely visible."""

TABLE = """\
| AS, centered | IS, centered | what it says |
|---|---|---|
| near 0 | large | Good: the head ignores much, and none of it is the class. |
| well below 0 | large | Class meaning lies where the head cannot see it. |
| well above 0 | large | What the head ignores pulled images away from their class. |
| near 0 | near 0 | The null space holds little that has a meaning, or the translator is poor. |"""

ADVICE = """\
**Read every score against the random subspace.** A null space of 500 directions moves the meaning
farther than one of 10, whatever is in it. So the same measurement is made with a random subspace
of the same size, the dotted line in the color of the run. An IS *below* it: the null space moves
the meaning less than any subspace of its size would. An AS *on* it: removing any subspace would
have done the same to the class. How much of the features' variance each holds is the null energy.

**Prefer the centered scores.** All features share a mean, and usually most of it lies in the null
space. The paper's pair removes it too, and then mostly measures one constant vector. The centered
pair keeps the mean and removes what differs from image to image.

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
- A triangle ({alerts.SIGN}): an **alert** fired. A number in it: so many fired here."""


def matches(spec: MetricSpec, words: str) -> bool:
    """Whether a metric holds every word, in any case."""
    text = " ".join((spec.key, spec.label, spec.plain, spec.formula, spec.source)).lower()
    return all(word in text for word in words.lower().split())


def body() -> None:
    """Introduction, then the searchable catalogue."""
    st.title("Guide", anchor=False)
    st.caption("What the numbers mean and how to read them.")
    with st.expander("New here? How to read AS and IS", expanded=True):
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
    st.caption(f"`{spec.key}` · {plain(spec.source)}")


body()
