"""Metrics as functions of tensors."""
