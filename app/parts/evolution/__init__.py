"""The parts of the page Evolution."""
