"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in a file, field or flag: one line that names it, what was found and what was expected.

    The command line prints the line to standard error and exits with code 2.
    """
