"""Decoders of video behind one port: on the CPU, on GPUs, in a process of their own, and for recordings."""

from pipeline.media.decoders.port import (
    CodedPacket,
    Decoder,
    DecoderFactory,
    DecoderFailed,
    DecoderLost,
    Frame,
    Interruptible,
    Skip,
    Small,
    Surface,
)

__all__ = ["CodedPacket", "Decoder", "DecoderFactory", "DecoderFailed", "DecoderLost", "Frame", "Interruptible", "Skip", "Small", "Surface"]
