"""Command compare."""
