"""Technology-neutral subcircuits, one a file, read through importlib.resources."""
