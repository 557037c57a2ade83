"""Command ablation."""
