"""Composition: cost and timing of large blocks of cells out of cell tables."""
