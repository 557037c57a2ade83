"""Shards planned, packed, written and verified."""
