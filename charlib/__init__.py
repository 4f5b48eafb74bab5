"""Characterisation: circuits, a simulator and a campaign in, tables out."""
