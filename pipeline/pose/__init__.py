"""Stage pose."""
