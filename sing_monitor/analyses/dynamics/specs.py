"""The metrics and tables of the dynamics of the weights, as readers see them."""

from __future__ import annotations

from sing_monitor.findings import ColumnSpec, MetricGroup, MetricSpec, TableSpec

WINDOW = 20  # validations
FEWEST = 8
RECENT = WINDOW // 2
MODES = 10
MOST_MODES = 20
# A clustering of 1,000 takes several times the time, and explains no more than samples differ by.
CLUSTERED = 400  # weights
SHOWN_WEIGHTS = 400

DYNAMICS = MetricGroup("dynamics", "Dynamics of the weights")
_PAPER = "Brokman et al. 2024 (CMD)"
_FEW = f"NaN at the first {FEWEST - 1} validations, and where no weight moves."
_MODES = f"w_i = a_i w_r + b_i, {MODES} modes with reference r"

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "dynamics/explained",
        "Explained by modes",
        "share",
        "none",
        f"1 - sum |w - w^|^2 / sum |w - mean_t w|^2, {_MODES}, last {WINDOW} validations",
        _PAPER,
        "How much of the weights' motion a few of them tell. Independent random walks reach 0.75: "
        f"only what exceeds the surrogate is found. {_FEW}",
        group=DYNAMICS,
        short="Explained",
        baseline="dynamics/explained_surrogate",
    ),
    MetricSpec(
        "dynamics/explained_surrogate",
        "Explained by modes of random walks",
        "share",
        "none",
        "mean of dynamics/explained over 2 draws, each increment with a random sign",
        "ours",
        "What chance gives: walks with the same steps, forward or back at random, explained in the "
        f"same way. {_FEW}",
        group=DYNAMICS,
        short="Surrogate",
    ),
    MetricSpec(
        "dynamics/explained_excess",
        "Explained beyond chance",
        "1",
        "none",
        "dynamics/explained - dynamics/explained_surrogate",
        "ours",
        f"How much more the modes explain than those of random walks. About 0: nothing. {_FEW}",
        group=DYNAMICS,
        short="Excess",
    ),
    MetricSpec(
        "dynamics/increments_excess",
        "Steps explained beyond chance",
        "1",
        "none",
        "the same excess of the increments w(t) - w(t-1), over one draw",
        "ours",
        "Whether weights also take their steps together, from validation to validation, and do not "
        f"only drift the same way. {_FEW}",
        group=DYNAMICS,
        short="Steps' excess",
    ),
    MetricSpec(
        "dynamics/modes_95",
        "Modes that suffice",
        "count",
        "none",
        f"fewest modes that explain 95 % of what {MOST_MODES} explain",
        "ours",
        f"In how many ways the weights move, by and large. {_FEW}",
        group=DYNAMICS,
        short="Modes",
    ),
    MetricSpec(
        "dynamics/largest_mode",
        "Largest mode",
        "share",
        "none",
        "weights of the largest mode / weights that move",
        "ours",
        f"Share of the moving weights that follow the same reference. {_FEW}",
        group=DYNAMICS,
        short="Largest",
    ),
    MetricSpec(
        "dynamics/stability",
        "Stability of the modes",
        "1",
        "none",
        f"adjusted Rand index of the modes of the last {RECENT} validations and those of the "
        f"{RECENT} before the present one, with the references of the latter",
        "ours; index: Hubert and Arabie 1985",
        "Whether weights still follow the reference that they followed at the last validation. A "
        "fall marks another regime, such as a learning rate that was lowered 5 to 8 validations "
        f"before. NaN at the first {FEWEST} validations.",
        group=DYNAMICS,
        short="Stability",
    ),
    MetricSpec(
        "dynamics/head_excess",
        "Head explained beyond chance",
        "1",
        "none",
        "dynamics/explained_excess over the weights of the head alone, with the same modes",
        "ours",
        "Whether the classifier head moves with the rest of the network. NaN where the head's "
        f"weights do not move or are not known. {_FEW}",
        group=DYNAMICS,
        short="Head's excess",
    ),
    MetricSpec(
        "dynamics/weights",
        "Weights that move",
        "count",
        "none",
        f"sampled weights with more than one value in the last {WINDOW} validations",
        "ours",
        "On how many weights the numbers of this group stand.",
        group=DYNAMICS,
        short="Weights",
    ),
    MetricSpec(
        "dynamics/constant",
        "Weights that stand still",
        "share",
        "none",
        "sampled weights that do not move / sampled weights",
        "ours",
        "Share of the sampled weights that belong to no mode: they never change, as in frozen "
        "layers and behind inputs that are always 0, or were NaN or infinite at a validation of "
        "the window.",
        group=DYNAMICS,
        short="Constant",
    ),
    MetricSpec(
        "dynamics/window",
        "Validations in the window",
        "count",
        "none",
        f"number of validations that the modes stand on, at most {WINDOW}",
        "ours",
        "How long the trajectories are. Modes of fewer validations explain more, by chance too.",
        group=DYNAMICS,
        short="Window",
    ),
)

_MODE = ColumnSpec("mode", "", "Number of the mode, from 0; -1: that stand still or were NaN.")
_LAYER = ColumnSpec("layer", "", "Name of the layer.")
_CURVE = "less its mean over the window, over its standard deviation"

MODE_SIZES = TableSpec(
    "modes",
    "Modes by layer",
    "The weights of a layer that belong to a mode.",
    (
        _MODE,
        ColumnSpec("size", "count", "Number of sampled weights of the mode, in all layers."),
        ColumnSpec("depth", "", "Place of the layer in the network, from 0."),
        _LAYER,
        ColumnSpec("weights", "count", "Number of the layer's sampled weights in the mode."),
        ColumnSpec("share", "share", "The same over all sampled weights of the layer."),
    ),
    is_followed=True,
)
CURVES = TableSpec(
    "mode_curves",
    "Reference curves",
    "The reference weight of a mode at a validation of the window.",
    (
        ColumnSpec("mode", "", "Number of the mode, from 0."),
        _LAYER,
        ColumnSpec("validation", "", "Place of the validation in the window, from 0."),
        ColumnSpec("epoch", "", "Epoch of the validation."),
        ColumnSpec("value", "1", f"The reference, {_CURVE}."),
    ),
)
WEIGHTS = TableSpec(
    "mode_weights",
    "Sampled weights",
    f"One of at most {SHOWN_WEIGHTS} weights, in the order of the modes.",
    (
        ColumnSpec("mode", "", "Number of the mode, from 0."),
        _LAYER,
        ColumnSpec("correlation", "1", "Correlation with the reference of the mode."),
        ColumnSpec("curve", "", f"The weight at each validation of the window, {_CURVE}."),
    ),
)
