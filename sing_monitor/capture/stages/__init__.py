"""Stages of a model: features of some images at several depths, out of the validation batches."""
