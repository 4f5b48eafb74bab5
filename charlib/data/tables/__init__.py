"""Shipped tables, one folder a kit."""
