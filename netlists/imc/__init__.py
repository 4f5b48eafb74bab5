"""Circuits of the computing compartment."""
