"""Vision language models in this process: checkpoints of three families, described by their own clock.

`load_vlm` reads a checkpoint, `VlmCaptioner` describes scenes with it. Inside: `checkpoint` (files), `patches` (pixels), `families`
(what is different between architectures), `prompt` (words and places for pictures), `reuse` (what need not be computed again),
`decoding` (many scenes' tokens, together), `worker` (all of that for a batch), `memory` (when it does not suffice).
"""

from pipeline.caption.vlm.captioner import VlmCaptioner, load_vlm
from pipeline.caption.vlm.patches import MAX_FRAME_PIXELS, Preprocessing, patchify

__all__ = ["MAX_FRAME_PIXELS", "Preprocessing", "VlmCaptioner", "load_vlm", "patchify"]
