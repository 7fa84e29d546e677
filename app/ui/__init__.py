"""Parts that every page of the app shares: page frame, sidebar, selection, widgets."""
