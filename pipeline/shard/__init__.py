"""Stage shard."""
