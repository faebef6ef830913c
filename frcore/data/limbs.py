"""Random limb scaling: bodies of other proportions that make the same movements.

One of the FR Head authors' augmentations for NTU RGB+D: each bone's length is multiplied by a
random factor, left and right alike, and the joints are put together again from the root.
"""

import torch
from torch import Tensor

from frcore.data.packing import Packing
from frcore.data.random import random_uniform


class LimbScaling:
    """Scales the bones of clips by one factor a bone and clip, the same in all frames.

    A bone and its mirror image get the mean of their two factors, which keeps bodies symmetric
    (and makes extreme limbs rarer than extreme trunks). Both persons of a clip share the factors,
    as they share a rotation: a person that stands for an absent one stays a copy. The root keeps
    its path, so what is centred at another joint may leave the centre by a few centimetres.

    Args:
        packing: of rows that hold bones.
        limits: factors are uniform between them.
        device: of the rows.
    """

    def __init__(self, packing: Packing, limits: tuple[float, float], device: torch.device) -> None:
        skeleton = packing.skeleton
        mirror = list(range(skeleton.num_joints))
        for left, right in skeleton.left_right:
            mirror[left], mirror[right] = right, left
        self.limits, self.num_persons = limits, packing.num_persons
        self.root = skeleton.root
        self._mirror = torch.tensor(mirror, device=device)
        self._joint_of = torch.from_numpy(packing.joint_of).to(device)
        hops = skeleton.hop_distance[self.root]
        self._outward = sorted(skeleton.bones, key=lambda bone: hops[bone[0]])  # parents first

    def factors(self, keys: Tensor, *, seed: int, epoch: int, repeat: Tensor | int) -> Tensor:
        """(n, V) float32 in the limits: that of the bone from each joint's parent to it; root 1."""
        low, high = self.limits
        when = {"seed": seed, "epoch": epoch, "repeat": repeat}
        u = random_uniform(keys, len(self._mirror), purpose="limbs", **when)
        drawn = low + (high - low) * u
        drawn = (drawn + drawn.index_select(1, self._mirror)) / 2
        drawn[:, self.root] = 1
        return drawn.float()

    def scale(self, rows: Tensor, factors: Tensor) -> Tensor:
        """Bones (n, F, C * V * M) times the factors (n, V), in place."""
        return rows.mul_(factors.index_select(1, self._joint_of)[:, None])

    def put_together(self, x: Tensor) -> Tensor:
        """Bones, of the root its position, (n, C, F, V * M), to joints, in place.

        By additions, not as a product with a matrix of ones: that would follow TF32 and autocast
        settings that are meant for the model.
        """
        joints = x.unflatten(3, (-1, self.num_persons)).unbind(3)
        for child, parent in self._outward:
            joints[child].add_(joints[parent])
        return x
