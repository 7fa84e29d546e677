"""Running a model over a loader outside its training loop, without a trace."""
