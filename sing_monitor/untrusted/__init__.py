"""Reading of files that others wrote: their headers are looked at before they are decoded."""
