"""Slices of shots."""


def passes_of(shots: int, slices: int) -> list[tuple[int, int]]:
    """(first shot, number of shots) of each slice; sizes differ by one at most."""
    slices = max(1, min(slices, shots))
    size, more = divmod(shots, slices)
    result = []
    first = 0
    for index in range(slices):
        count = size + (1 if index < more else 0)
        result.append((first, count))
        first += count
    return result
