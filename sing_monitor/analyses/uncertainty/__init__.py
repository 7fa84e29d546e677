"""How certain means over images are, beyond the choice of the images that are averaged."""
