"""Texts for people that are made of parts."""


def joined(what: str, hint: str) -> str:
    """What happened and what to do about it: two sentences where the second begins like one, else one."""
    what = what.rstrip().removesuffix(".")
    if not what or not hint:
        return what or hint
    return f"{what}. {hint}" if hint[0].isupper() else f"{what}; {hint}"
