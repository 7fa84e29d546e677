"""One training under watch, whatever runs it."""
