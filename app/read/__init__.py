"""What the app reads from the store, as tables for charts."""
