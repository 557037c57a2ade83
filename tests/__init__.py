"""The tests; `support` holds what is no test."""
