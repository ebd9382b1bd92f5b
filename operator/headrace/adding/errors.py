"""What ends `headrace model add`."""


class CannotAdd(Exception):
    """The model, the namespace or the store is not as it has to be; the message says what, where, and what to do."""
