"""Which images form pairs: filters by rule, or a list."""
