"""The one exception whose message is meant for the user: a line that says what, where and what to do."""


class UserError(Exception):
    """The data, the site or the machine is at fault; the command line prints the message and exits 1."""
