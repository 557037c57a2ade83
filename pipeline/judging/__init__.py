"""Scores of images, and what is made of them: means, intervals, reasons."""
