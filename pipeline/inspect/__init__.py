"""Command inspect."""
