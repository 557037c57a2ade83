"""The shipped pose detector: pictures of people with their joints in, a YOLO pose model, its measures and its card out."""
