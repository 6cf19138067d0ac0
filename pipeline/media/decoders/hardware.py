"""FFmpeg's hardware decoders through PyAV: CUDA (NVDEC), VAAPI and VideoToolbox.

Whether a device can be used is known only by trying: what PyAV lists is what its FFmpeg was built with, a device may be
missing although it is listed (`allow_software_fallback` does not cover that), and a codec or profile that the device does not
know is refused with the first frame. So it is tried when it is opened, and `pipeline.media.decoders.fallback` stands behind
it until the first frame has come.
"""

from typing import TYPE_CHECKING, Any

from watchword.v1.media_pb2 import VideoParameters

from pipeline.errors import CodecUnsupported
from pipeline.media.decoders.cpu import AvDecoder
from pipeline.media.decoders.port import CodedPacket, DecoderFailed, Frame, Skip, Surface
from pipeline.media.decoders.tensor import Nv12Surface, as_tensor, torch_has_cuda

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

DEVICES = ("cuda", "vaapi", "videotoolbox")
"""The kinds of device, by FFmpeg's names."""


def open_hardware(device: str, stream_id: str, parameters: VideoParameters) -> "HardwareDecoder":
    """A decoder on a device; raises `CodecUnsupported` that says why there is none."""
    import av
    from av.codec.hwaccel import HWAccel, hwdevices_available

    if device not in hwdevices_available():
        raise CodecUnsupported(f"this build of FFmpeg knows no {device}")
    stays = device == "cuda" and torch_has_cuda()
    try:
        accel = HWAccel(device, allow_software_fallback=False, is_hw_owned=stays, options=_shared_with_torch() if stays else None)
        context: Any = av.CodecContext.create(parameters.codec, "r", hwaccel=accel)
        if parameters.width and parameters.height:
            context.width, context.height = parameters.width, parameters.height
        if parameters.extradata:
            context.extradata = parameters.extradata
        context.open()
    except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError) as error:
        raise CodecUnsupported(f"stream {stream_id}: {device} does not open for {parameters.codec}: {error}") from error
    if not context.is_hwaccel:
        raise CodecUnsupported(f"stream {stream_id}: {device} does not decode {parameters.codec}")
    return HardwareDecoder(context, device, stays=stays)


def _shared_with_torch() -> dict[str, object]:
    """Options that let FFmpeg work in torch's CUDA context, which it would not share once torch has used it."""
    import torch

    torch.cuda.synchronize()  # makes torch's context the one of this thread, also where no memory has to be asked for
    return {"primary_ctx": "0", "current_ctx": "1"}


class HardwareDecoder(AvDecoder):
    """A decoder of FFmpeg's that works on a device. Where torch can take them the frames stay there, else they are fetched."""

    def __init__(self, context: "VideoCodecContext", device: str, *, stays: bool) -> None:
        """`stays` says that frames are left on the device."""
        super().__init__(context, device)
        self._stays = stays

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        """See `Decoder.decode`."""
        try:
            return super().decode(packet, skip)
        except (RuntimeError, OSError, NotImplementedError) as error:
            raise DecoderFailed(f"{self.name}: {error}") from error

    def _surface(self, frame: "VideoFrame") -> Surface:
        if not self._stays:
            return super()._surface(frame)
        # FFmpeg's CUDA device and torch both use the default stream.
        luma, chroma = (as_tensor(plane, in_order=True) for plane in frame.planes[:2])
        # The device's own frames are few, and those that are held longer than the decoder expects would stop it.
        return Nv12Surface(
            luma[: frame.height, : frame.width].clone(),
            chroma[: frame.height // 2].clone(),
            full_range=int(frame.color_range) == 2,
            bt709=int(frame.colorspace) == 1,
        )
