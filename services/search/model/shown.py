"""What was shown already, as a text that a page token holds: so no hit comes twice, whatever became of the index."""

import base64
import zlib
from collections.abc import Collection

import numpy as np


def pack(numbers: Collection[int]) -> str:
    """The numbers (from 0, none twice), some one and a half letters for each."""
    gaps = np.diff(np.sort(np.fromiter(numbers, np.int64, len(numbers))), prepend=0).astype("<u4")
    # The low bytes of all, then the next ones: what is nearly always 0 takes no room.
    planes = gaps.view(np.uint8).reshape(-1, gaps.itemsize).T.tobytes()
    return base64.b85encode(zlib.compress(planes, 9)).decode()


def unpack(text: str) -> frozenset[int]:
    """The numbers of a text that `pack` made."""
    planes = np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8)
    gaps = np.ascontiguousarray(planes.reshape(4, -1).T).view("<u4").ravel()
    return frozenset(np.cumsum(gaps, dtype=np.int64).tolist())
