"""Data that travels with the package: GPU rows, anchors, schemas, examples."""
