"""The data work around `posegan`: one module a DVC stage, run as `python -m pipeline <stage>`."""
