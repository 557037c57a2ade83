"""Stage pair."""
