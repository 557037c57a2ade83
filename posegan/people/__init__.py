"""People and poses: who is in a picture, bodies in space, built-in poses."""
