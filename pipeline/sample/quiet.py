"""Packets that say nothing: what encoders send of a picture that stays as it is, such as a slide.

What stands out is told by `pipeline.sample.liveliness`, against what is usual in a stream. This is stricter: of noise, of a head that
speaks, and of whatever fades or moves, some packets are larger. A page that fades to black, which encoders can say in the headers of
pictures alone (weighted prediction), was measured to take 512 bytes a packet and more at 720p, of H.264 and HEVC, in half a second and
in six, and a line of print that disappears 1,678. But where pictures are small or nearly even, that takes hardly more than that nothing
happens, 36 bytes for 18. So a packet must not be far larger than the others either, and be small beside the keyframes between which
nothing is said to happen.
"""

from collections.abc import Sequence
from itertools import pairwise

from pipeline.media.decoders import CodedPacket
from pipeline.sample.liveliness import LOOK, least_bytes

_MENDS = 0.25
"""Of a keyframe's bytes: the most of the first picture after it, which corrects what it left coarse. Slides take 0.06."""
_MENDS_ON = 2
"""How many times more than later pictures may take for a second, which go on with that."""
_OF_KEYFRAME = 0.01
"""Of a keyframe's bytes: the most of a packet that says nothing. Slides take 0.001; where a change is cheap it is more."""
_ABOVE_USUAL, _HIGH = 3.0, 0.9
"""How many times the size that this share of packets does not exceed is the most. Before a cut, of which it knows, x264 takes up to 2.1."""
OTHER_SIZE = 0.01
"""By what share keyframe packets of a still picture differ at most, as a rule."""


def say_nothing(packets: Sequence[CodedPacket], pixels: int, new: int) -> bool:
    """Whether these packets, in the order of decoding, leave the picture as it is, keyframes and their corrections left out.

    `pixels` is how many a picture has, `new` the bytes of the keyframe packet that follows, or of the first of these.
    """
    most = min(least_bytes(pixels), _OF_KEYFRAME * min([new, *(len(packet.data) for packet in packets if packet.keyframe)]))
    mends, mends_until, highest = 0.0, -1, -1
    usual = []
    for packet in packets:
        size = len(packet.data)
        leads, highest = packet.pts > highest, max(highest, packet.pts)
        if packet.keyframe:
            mends, mends_until = _MENDS * size, packet.pts + LOOK.nanos
        elif packet.pts >= mends_until:
            usual.append(size)
        elif size > max(mends if leads else 0.0, _MENDS_ON * most):
            return False
        elif leads:
            mends = 0.0
    if not usual:
        return True
    usual.sort()
    return usual[-1] <= min(most, _ABOVE_USUAL * usual[int(_HIGH * (len(usual) - 1))])


def turn(sizes: Sequence[int], then: int) -> int:
    """After which of successive keyframe packets of these sizes, the next being of the size `then`, something has probably happened.

    Where the size changes most, which a new picture's does; in the middle where all are about the same. `then` is 0 where it is no keyframe
    packet that tells of something else: that is most likely to lie after the last of them.
    """
    jumps = [abs(later - sooner) for sooner, later in pairwise([*sizes, then])]
    farthest = max(range(len(jumps)), key=jumps.__getitem__)
    return farthest if jumps[farthest] > OTHER_SIZE * sizes[farthest] else len(sizes) // 2
