"""What a command raises to end with a message instead of a traceback."""

FAILED = 1
USAGE = 2


class CommandError(Exception):
    """Ends the program: the message on one line after `error: `, saying what is wrong and what to do."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
