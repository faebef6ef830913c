"""A raw NTU RGB+D file read the plain way: line by line.

What the fast parser is measured against and compared with; shares no code with it.
"""

from collections.abc import Callable

import numpy as np


def by_float(words: list[str]) -> list[float]:
    """x, y and z of a joint, `float()` for each number of its line."""
    return [float(word) for word in words][:3]


def by_numpy(words: list[str]) -> np.ndarray:
    """x, y and z alone, converted by NumPy, as scripts of the field do."""
    return np.array(words[:3], dtype=np.float32)


def read_line_by_line(
    content: bytes, metres: Callable = by_float
) -> list[tuple[int, list[np.ndarray], list[int]]]:
    """(body id, joints (25, 3) float32 each, frames) of every body, in order of first sight.

    Frames without a body are not counted. Knows good files only.
    """
    lines = iter(content.decode("ascii").split("\n"))
    bodies: dict[int, tuple[list[np.ndarray], list[int]]] = {}
    frame = 0
    for _ in range(int(next(lines))):
        num_bodies = int(next(lines))
        for _ in range(num_bodies):
            words = next(lines).split()
            body_id, _ = int(words[0]), [float(word) for word in words[1:]]
            joints = np.zeros((int(next(lines)), 3), dtype=np.float32)
            for joint in range(len(joints)):
                joints[joint] = metres(next(lines).split())
            appearances, frames = bodies.setdefault(body_id, ([], []))
            appearances.append(joints)
            frames.append(frame)
        frame += num_bodies > 0
    return [(body_id, joints, frames) for body_id, (joints, frames) in bodies.items()]
