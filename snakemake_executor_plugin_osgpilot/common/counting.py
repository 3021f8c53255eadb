"""Numbers with their nouns."""


def count_of(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun, for example "1 job" or "2 jobs"."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
