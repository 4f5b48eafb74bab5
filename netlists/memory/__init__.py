"""The 6T cell and what writes and precharges it."""
