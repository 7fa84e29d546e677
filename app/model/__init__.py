"""The model that the app was started with, and what it says of pictures."""
