"""Chart builders: pure functions from data frames to Altair charts, one file per page."""
