"""Exploration: the estimate over whole grids of designs, their Pareto front, sensitivities, and a search."""
