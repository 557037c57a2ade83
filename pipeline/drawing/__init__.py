"""Drawn people: a body in 3-D, what it wears, the street it walks in, the camera that sees it."""
