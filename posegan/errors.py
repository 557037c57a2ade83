"""The one exception that a person is meant to read."""


class PoseGANError(Exception):
    """Something in the input, the parameters or the machine that the user can mend.

    The message names the thing, what was expected, what came and the remedy, in one or two
    lines; the command lines print it without a traceback and exit with code 1.
    """
