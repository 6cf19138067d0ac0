"""Chunks into sound at 16 kHz and pictures, each at its exact media time."""

from pipeline.media.audio import AudioBlock, AudioDecoder
from pipeline.media.video import DecodedFrame, VideoDecoder

__all__ = ["AudioBlock", "AudioDecoder", "DecodedFrame", "VideoDecoder"]
