"""Analysis without a training: models, checkpoints, and concepts added to a stored run."""
