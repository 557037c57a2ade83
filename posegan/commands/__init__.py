"""The subcommands of `posegan`, one module each, imported when they run."""
