"""Reading headers bit by bit, as H.264, HEVC and AV1 write them: the highest bit of a byte first."""


class Bits:
    """The bits of some bytes, from the first on; raises `IndexError` at their end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """An unsigned number of so many bits."""
        if count > self._left:
            raise IndexError
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def number(self) -> int:
        """An Exp-Golomb code (ITU-T H.264, 9.1), which AV1 calls `uvlc` (4.10.3)."""
        zeros = self._left - (self._value & ((1 << self._left) - 1)).bit_length()
        if zeros > 32 or zeros == self._left:
            raise IndexError
        return self.take(2 * zeros + 1) - 1

    def signed(self) -> int:
        """A signed Exp-Golomb code (H.264, 9.1.1)."""
        code = self.number()
        return (code + 1) // 2 if code % 2 else -code // 2
