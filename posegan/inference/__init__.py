"""A trained generator at work: pictures, folders, videos, ONNX."""
