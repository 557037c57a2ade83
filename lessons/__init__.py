"""Six lessons, from a classifier of digits in NumPy to a conditional GAN: docs/lessons.md. `python -m lessons 1` runs the first."""
