from numpy import complexfloating, floating, int64
from numpy.typing import NDArray

def sweep(
    states: NDArray[complexfloating],
    rows: NDArray[int64],
    inner: int,
    offsets: NDArray[int64],
    outer: int,
    gates: NDArray[int64],
    factors: NDArray[floating],
    room: NDArray[floating],
    /,
) -> None: ...
