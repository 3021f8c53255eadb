"""Numbers with their nouns."""


def count_of(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun, for example "1 job" or "2 jobs"."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def size_of(mb: float) -> str:
    """Return a size in a unit that suits it, for example "24 bytes" or "1.5 GB"."""
    for unit, factor in (("GB", 1024.0), ("MB", 1.0)):
        if mb >= factor:
            return (
                f"{mb / factor:.3g} {unit}" if mb < 1000 * factor else f"{mb / factor:,.0f} {unit}"
            )
    if 0 < mb < 1 / 1024:
        return count_of(round(mb * 1024**2), "byte")
    return f"{mb * 1024:.3g} kB" if mb < 1000 / 1024 else "1 MB"
