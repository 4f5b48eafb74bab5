"""Data that travels with the package: tables, kept convergence, schemas, examples."""
