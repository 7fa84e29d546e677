"""How the app writes names, numbers and marks; pure functions that every other room may use."""
