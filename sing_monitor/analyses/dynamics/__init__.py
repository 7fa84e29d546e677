"""How the weights of a network move: groups of weights that move alike, and what chance gives."""

from sing_monitor.analyses.dynamics.modes import CorrelationModes, correlation_modes
from sing_monitor.analyses.dynamics.surrogate import random_walk_surrogate

__all__ = ["CorrelationModes", "correlation_modes", "random_walk_surrogate"]
