"""The translator from features to a semantic space, and its random baselines."""
