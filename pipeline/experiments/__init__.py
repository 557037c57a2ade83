"""DVC's experiments read and compared."""
