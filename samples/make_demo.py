#!/usr/bin/env python3
"""Build ``demo.mp4``, a short narrated clip, and ``demo.json``, the truth about it.

    python samples/make_demo.py

The clip is made of freely licensed photographs which two Python packages ship, one slide drawn here, and a narration
spoken by a speech synthesiser, so everything in it is known: what is said and when (to the word), where the cuts and the
dissolve are, which stretch is still, what each shot shows. ``demo.json`` holds all of that, with questions and answers.

Needs
    Debian packages: ffmpeg, festival, festvox-us-slt-hts, fonts-dejavu-core.
    Python packages: numpy, pillow, av (PyAV), scikit-image and scikit-learn (only for the pictures in their wheels).

The pictures, the sound and the truth are the same on each run; the bytes of ``demo.mp4`` depend on the encoders' versions.
When it has encoded the clip, the script decodes it again and stops with an error where the clip does not keep to its truth.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

OUT_FOLDER = Path(__file__).resolve().parent
VIDEO_NAME = "demo.mp4"
TRUTH_NAME = "demo.json"

WIDTH_PX = 640
HEIGHT_PX = 360
FRAMES_PER_S = 25
GOP_FRAMES = 50
X264_CRF = 27
MAX_FILE_BYTES = 3_000_000
AUDIO_RATE_HZ = 48_000
AUDIO_BITS_PER_S = 56_000
SPEECH_LEVEL_DBFS = -20.5
ROOM_TONE_LEVEL_DBFS = -60.0
ROOM_TONE_SEED = 2026
TRIM_BEFORE_S = 0.04
TRIM_AFTER_S = 0.15
FADE_S = 0.02
OVERSAMPLING = 3
"""Photographs are enlarged this many times before they are panned, so that sub-pixel motion neither shimmers nor jitters."""
EDGE_MARGIN_PX = 1.0
"""A view stays this far (in pixels of the photograph) from the photograph's edge, so that no border shows."""

VOICE = "cmu_us_slt_arctic_hts"
FONT_BOLD = "DejaVuSans-Bold.ttf"
FONT_PLAIN = "DejaVuSans.ttf"
SLIDE_LINES = ("WATCHWORD", "HARBOUR CONFERENCE 2026", "Doors open at nine thirty", "Room 42")

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class View:
    """What the camera sees of a photograph: its middle and its width, in fractions of the photograph's width and height."""

    middle_x: float
    middle_y: float
    width: float


@dataclasses.dataclass(frozen=True)
class Picture:
    """A photograph in an installed package, and where it comes from."""

    package: str
    file: str
    distribution: str
    what: str
    author: str
    licence: str


@dataclasses.dataclass(frozen=True)
class Scene:
    """One shot. It starts with a hard cut, or with a dissolve when ``dissolve_s`` is above zero."""

    key: str
    start_s: float
    end_s: float
    shows: str
    labels: tuple[str, ...]
    picture: Picture | None
    view_from: View
    view_to: View
    text: str | None = None
    dissolve_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence of the narration and the time at which its first word starts."""

    start_s: float
    text: str


@dataclasses.dataclass(frozen=True)
class Word:
    """A spoken word with its times, in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about the clip; ``about`` is the number of a sentence or the key of a scene that answers it."""

    question: str
    answer: str
    kind: str
    about: int | str | None


_CC_BY = "CC BY 2.0 (https://creativecommons.org/licenses/by/2.0/)"
_SKIMAGE = "scikit-image"
_SKLEARN = "scikit-learn"

PAGODA = Picture(
    "sklearn", "datasets/images/china.jpg", _SKLEARN, "photograph of a tower above a lake",
    "danielbuechele, https://www.flickr.com/photos/danielbuechele/6061409035/", _CC_BY,
)  # fmt: skip
FLOWER = Picture(
    "sklearn", "datasets/images/flower.jpg", _SKLEARN, "photograph of an orange dahlia",
    "vultilion, https://www.flickr.com/photos/vultilion/6056698931/ (the package's own note names danielbuechele "
    "and gives vultilion's page)", _CC_BY,
)  # fmt: skip
COFFEE = Picture(
    "skimage", "data/coffee.png", _SKIMAGE, "photograph of a cup of coffee",
    "Rachel Michetti, courtesy of Pikolo Espresso Bar", "CC0 (no copyright restrictions)",
)  # fmt: skip
ROCKET = Picture(
    "skimage", "data/rocket.jpg", _SKIMAGE, "photograph of a rocket before its launch",
    "SpaceX, https://www.flickr.com/photos/spacexphotos/16511594820/", "public domain (released by SpaceX)",
)  # fmt: skip
ASTRONAUT = Picture(
    "skimage", "data/astronaut.png", _SKIMAGE, "photograph of the astronaut Eileen Collins",
    "NASA, https://flic.kr/p/r9qvLn", "public domain (no known copyright restrictions)",
)  # fmt: skip
CAT = Picture(
    "skimage", "data/chelsea.png", _SKIMAGE, "photograph of the cat Chelsea",
    "Stefan van der Walt", "CC0 (no copyright restrictions)",
)  # fmt: skip

_WHOLE = View(0.5, 0.5, 1.0)

SCENES = (
    Scene(
        "tower", 0.0, 9.0, "A red tower with several curved roofs stands among trees above a wide lake.",
        ("tower", "pagoda", "lake", "trees", "sky"), PAGODA, View(0.48, 0.43, 0.93), View(0.57, 0.50, 0.80),
    ),
    Scene(
        "slide", 9.0, 21.0, "A dark blue slide with large white text announces a conference.",
        ("slide", "text", "sign"), None, _WHOLE, _WHOLE, text="\n".join(SLIDE_LINES),
    ),
    Scene(
        "coffee", 21.0, 31.0, "A red cup of coffee with a spoon stands on a red saucer on a wooden table.",
        ("coffee", "cup", "saucer", "spoon", "table"), COFFEE, View(0.50, 0.43, 0.97), View(0.46, 0.37, 0.72),
    ),
    Scene(
        "rocket", 31.0, 41.0, "A white rocket stands upright between steel masts at dusk, with bright lights below it.",
        ("rocket", "launch pad", "lights", "evening", "sky"), ROCKET, View(0.50, 0.58, 0.94), View(0.505, 0.45, 0.78),
    ),
    Scene(
        "astronaut", 41.0, 51.0,
        "A smiling woman in an orange space suit, with a flag and a model of a space shuttle behind her.",
        ("woman", "astronaut", "space suit", "flag", "space shuttle"), ASTRONAUT, View(0.46, 0.22, 0.74), View(0.50, 0.33, 0.96),
    ),
    Scene(
        "flower", 51.0, 62.0, "A round orange flower with many petals before dark green leaves.",
        ("flower", "dahlia", "petals", "leaves"), FLOWER, View(0.48, 0.52, 0.66), View(0.50, 0.50, 0.97),
    ),
    Scene(
        "cat", 61.0, 76.0, "The face of a striped brown cat with yellow-green eyes, seen from close by.",
        ("cat", "animal", "eyes", "whiskers"), CAT, View(0.53, 0.52, 0.92), View(0.45, 0.56, 0.76), dissolve_s=1.0,
    ),
)  # fmt: skip
"""The shots. A dissolve lies at the start of the later shot and at the end of the earlier one, which overlap by its length."""

SENTENCES = (
    Sentence(0.9, "Welcome to the Watchword demo."),
    Sentence(3.6, "This tall tower looks over a wide lake."),
    Sentence(9.8, "The conference opens on Monday, and it lasts for three days."),
    Sentence(14.4, "A ticket costs 25 pounds, and lunch is included."),
    Sentence(22.2, "Coffee is served at 11 o'clock."),
    Sentence(25.5, "The cakes are made by a baker called David."),
    Sentence(31.9, "This rocket stands on the launch pad, ready to fly."),
    Sentence(36.2, "The talk about rockets begins at three in the afternoon."),
    Sentence(41.8, "This astronaut first flew in 1995."),
    Sentence(46.8, "She has spent 38 days in space."),
    Sentence(51.8, "The garden behind the house is open until five."),
    Sentence(56.2, "More than 60 kinds of flowers grow there."),
    Sentence(63.0, "The cat lives in the garden, and her name is Ruby."),
    Sentence(67.8, "The last bus leaves at half past seven."),
    Sentence(72.2, "Thank you for watching."),
)

QUESTIONS = (
    Question("On which day does the conference open?", "Monday", "speech", 2),
    Question("How much does a ticket cost?", "25 pounds", "speech", 3),
    Question("Who makes the cakes?", "a baker called David", "speech", 5),
    Question("When does the talk about rockets begin?", "at three in the afternoon", "speech", 7),
    Question("What is the cat's name?", "Ruby", "speech", 12),
    Question("When does the last bus leave?", "at half past seven", "speech", 13),
    Question("In which room is the conference?", "Room 42", "text", "slide"),
    Question("When do the doors open?", "at nine thirty", "text", "slide"),
    Question("What colour is the coffee cup?", "red, and white inside", "picture", "coffee"),
    Question("What colour is the astronaut's suit?", "orange", "picture", "astronaut"),
    Question("How many people live in the town?", "the clip does not say", "none", None),
    Question("Who plays the piano?", "the clip does not say", "none", None),
)


def frame_number(time_s: float) -> int:
    """The number of the frame which starts at a time."""
    return round(time_s * FRAMES_PER_S)


def duration_s() -> float:
    """The length of the clip."""
    return SCENES[-1].end_s


# --- picture ---------------------------------------------------------------------------------------------------------


def load_picture(picture: Picture) -> Image.Image:
    """Open a photograph of an installed package, as RGB."""
    with as_file(files(picture.package).joinpath(picture.file)) as path, Image.open(path) as image:
        return image.convert("RGB")


def draw_slide() -> Image.Image:
    """Draw the slide: a dark page, one accent line, four centred lines of text."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (18, 36, 66))
    draw = ImageDraw.Draw(image)
    styles = ((FONT_BOLD, 54, 78), (FONT_BOLD, 34, 158), (FONT_PLAIN, 32, 232), (FONT_BOLD, 36, 292))
    colours = ((255, 255, 255), (255, 209, 102), (255, 255, 255), (255, 255, 255))
    for line, (font, size_px, middle_y_px), colour in zip(SLIDE_LINES, styles, colours, strict=True):
        typeface = ImageFont.truetype(font, size_px)
        if draw.textlength(line, font=typeface) > WIDTH_PX - 60:
            raise ValueError(f"too wide for the slide: {line}")
        draw.text((WIDTH_PX / 2, middle_y_px), line, font=typeface, fill=colour, anchor="mm")
    draw.rectangle((220, 115, 420, 119), fill=(255, 209, 102))
    return image


def ease(position: float) -> float:
    """Half linear, half smooth: motion that starts and ends gently but never stops."""
    return 0.5 * position + 0.5 * position * position * (3.0 - 2.0 * position)


class Shot:
    """Draws the frames of one scene."""

    def __init__(self, scene: Scene) -> None:
        """Load (or draw) what the scene shows."""
        self.scene = scene
        self.still = draw_slide() if scene.picture is None else None
        if scene.picture is not None:
            photograph = load_picture(scene.picture)
            self.size_px = photograph.size
            enlarged = (photograph.width * OVERSAMPLING, photograph.height * OVERSAMPLING)
            self.photograph = photograph.resize(enlarged, Image.Resampling.LANCZOS)

    def frame(self, number: int) -> ByteArray:
        """The picture of the clip's frame ``number`` as this scene shows it: height x width x RGB."""
        if self.still is not None:
            return np.asarray(self.still, dtype=np.uint8)
        first, last = frame_number(self.scene.start_s), frame_number(self.scene.end_s) - 1
        along = ease((number - first) / (last - first))
        begin, end = self.scene.view_from, self.scene.view_to
        photo_width, photo_height = self.size_px
        width = photo_width * math.exp((1 - along) * math.log(begin.width) + along * math.log(end.width))
        height = width * HEIGHT_PX / WIDTH_PX
        left = photo_width * (begin.middle_x + along * (end.middle_x - begin.middle_x)) - width / 2
        top = photo_height * (begin.middle_y + along * (end.middle_y - begin.middle_y)) - height / 2
        inside_x = left >= EDGE_MARGIN_PX and left + width <= photo_width - EDGE_MARGIN_PX
        inside_y = top >= EDGE_MARGIN_PX and top + height <= photo_height - EDGE_MARGIN_PX
        if not (inside_x and inside_y):
            raise ValueError(f"{self.scene.key}: the view leaves the photograph at frame {number}: {left, top, width, height}")
        step = width / WIDTH_PX * OVERSAMPLING
        affine = (step, 0.0, left * OVERSAMPLING, 0.0, step, top * OVERSAMPLING)
        seen = self.photograph.transform((WIDTH_PX, HEIGHT_PX), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
        return np.asarray(seen, dtype=np.uint8)


def frames() -> Iterator[ByteArray]:
    """All frames of the clip, in order."""
    shots = [Shot(scene) for scene in SCENES]
    for number in range(frame_number(duration_s())):
        showing = [s for s in shots if frame_number(s.scene.start_s) <= number < frame_number(s.scene.end_s)]
        picture = showing[0].frame(number)
        if len(showing) == 2:
            start, length = frame_number(showing[1].scene.start_s), frame_number(showing[1].scene.dissolve_s)
            share = (number - start + 1) / (length + 1)
            mixed = (1 - share) * picture.astype(np.float32) + share * showing[1].frame(number).astype(np.float32)
            picture = np.rint(mixed).astype(np.uint8)
        yield picture


# --- sound -----------------------------------------------------------------------------------------------------------

_FESTIVAL_SCRIPT = """
(voice_{voice})
(set! u (utt.synth (Utterance Text "{text}")))
(utt.save.wave u "{folder}/speech.wav")
(set! f (fopen "{folder}/words.txt" "w"))
(define (times w) (format f " %f %f" (item.feat w "word_start") (item.feat w "word_end")))
(define (line tok) (if (item.daughters tok)
  (begin (format f "%s" (item.name tok)) (mapcar times (item.daughters tok)) (format f "\\n"))))
(mapcar line (utt.relation.items u 'Token))
(fclose f)
"""


def speak(text: str, folder: Path) -> tuple[FloatArray, list[Word]]:
    """Speak a sentence: its samples, and its words with the synthesiser's own times, counted from the first word's start."""
    script = folder / "speak.scm"
    script.write_text(_FESTIVAL_SCRIPT.format(voice=VOICE, text=text, folder=folder), encoding="ascii")
    subprocess.run(["festival", "-b", str(script)], check=True)
    command = ["ffmpeg", "-v", "error", "-i", str(folder / "speech.wav"), "-ar", str(AUDIO_RATE_HZ), "-ac", "1", "-f", "f32le", "-"]
    samples = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, dtype=np.float32)

    spans: list[tuple[float, float]] = []
    for line in (folder / "words.txt").read_text(encoding="ascii").splitlines():
        times = [float(field) for field in line.split()[1:]]
        ends = [end for end in times[1::2] if end > 0]  # a punctuation mark is a daughter with no time
        spans.append((times[0], max(ends)))
    written = [word.strip(".,") for word in text.split()]
    if len(written) != len(spans):
        raise ValueError(f"the synthesiser made {len(spans)} words of: {text}")
    origin = spans[0][0]
    words = [Word(word, start - origin, end - origin) for word, (start, end) in zip(written, spans, strict=True)]

    first = round((origin - TRIM_BEFORE_S) * AUDIO_RATE_HZ)
    last = round((spans[-1][1] + TRIM_AFTER_S) * AUDIO_RATE_HZ)
    trimmed = samples[first:last].copy()
    ramp = np.linspace(0.0, 1.0, round(FADE_S * AUDIO_RATE_HZ), dtype=np.float32)
    trimmed[: ramp.size] *= ramp
    trimmed[-ramp.size :] *= ramp[::-1]
    return trimmed, words


def level_dbfs(samples: FloatArray) -> float:
    """The RMS level of samples, in dB below full scale."""
    return float(10.0 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def make_sound() -> tuple[FloatArray, list[list[Word]]]:
    """The clip's sound, and the words of each sentence with their times in the clip."""
    spoken: list[FloatArray] = []
    words: list[list[Word]] = []
    with tempfile.TemporaryDirectory() as folder:
        for sentence in SENTENCES:
            samples, relative = speak(sentence.text, Path(folder))
            spoken.append(samples)
            words.append([Word(w.text, sentence.start_s + w.start_s, sentence.start_s + w.end_s) for w in relative])

    gain = 10.0 ** ((SPEECH_LEVEL_DBFS - level_dbfs(np.concatenate(spoken))) / 20.0)
    noise = np.random.default_rng(ROOM_TONE_SEED).standard_normal(round(duration_s() * AUDIO_RATE_HZ)).astype(np.float32)
    tone = np.convolve(noise, np.hanning(25).astype(np.float32), mode="same").astype(np.float32)
    sound = tone * np.float32(10.0 ** ((ROOM_TONE_LEVEL_DBFS - level_dbfs(tone)) / 20.0))
    for sentence, samples in zip(SENTENCES, spoken, strict=True):
        at = round((sentence.start_s - TRIM_BEFORE_S) * AUDIO_RATE_HZ)
        sound[at : at + samples.size] += np.float32(gain) * samples
    if float(np.max(np.abs(sound))) > 0.95:
        raise ValueError("the speech would clip: lower SPEECH_LEVEL_DBFS")
    return sound, words


# --- file ------------------------------------------------------------------------------------------------------------


def encode(sound: FloatArray, target: Path) -> None:
    """Encode the frames and the sound as H.264 and AAC in MP4."""
    with tempfile.TemporaryDirectory() as folder:
        wav_path = Path(folder) / "sound.wav"
        with wave.open(str(wav_path), "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(AUDIO_RATE_HZ)
            wav.writeframes(np.rint(sound * 32767.0).astype("<i2").tobytes())
        command = [
            "ffmpeg", "-v", "error", "-y",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", str(FRAMES_PER_S), "-i", "-",
            "-i", str(wav_path),
            "-vf", "scale=out_color_matrix=smpte170m:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p",
            "-c:v", "libx264", "-preset", "slower", "-crf", str(X264_CRF), "-g", str(GOP_FRAMES), "-bf", "2", "-threads", "2",
            "-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m", "-color_range", "tv",
            "-c:a", "aac", "-b:a", str(AUDIO_BITS_PER_S), "-aac_pns", "0", "-ac", "1",
            "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact",
            "-movflags", "+faststart", str(target),
        ]  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            for frame in frames():
                process.stdin.write(frame.tobytes())
            process.stdin.close()
            if process.wait() != 0:
                raise RuntimeError("ffmpeg failed")


def hard_cuts_s() -> list[float]:
    """The times of the first frames of the shots that start with a hard cut."""
    return [scene.start_s for scene in SCENES[1:] if scene.dissolve_s == 0]


def truth(words: list[list[Word]]) -> dict[str, Any]:
    """Everything that is known about the clip, as ``demo.json`` holds it."""
    scenes = {scene.key: scene for scene in SCENES}
    still = next(scene for scene in SCENES if scene.picture is None)

    def span(about: int | str | None) -> dict[str, float | None]:
        if about is None:
            return {"start": None, "end": None}
        if isinstance(about, int):
            return {"start": round(words[about][0].start_s, 3), "end": round(words[about][-1].end_s, 3)}
        return {"start": scenes[about].start_s, "end": scenes[about].end_s}

    def spoken_words(spoken: list[Word]) -> list[dict[str, str | float]]:
        return [{"w": w.text, "start": round(w.start_s, 3), "end": round(w.end_s, 3)} for w in spoken]

    sources = [
        {"what": p.what, "from": f"{p.distribution}: {p.package}/{p.file}", "author": p.author, "licence": p.licence}
        for p in (scene.picture for scene in SCENES)
        if p is not None
    ]
    sources.append(
        {
            "what": "the slide",
            "from": "drawn by make_demo.py with the DejaVu Sans fonts (Debian package fonts-dejavu-core)",
            "author": "the Watchword authors; fonts by Bitstream and the DejaVu authors",
            "licence": "the slide: this project's licence; the fonts: Bitstream Vera licence, changes in the public domain",
        }
    )
    return {
        "file": VIDEO_NAME,
        "duration": duration_s(),
        "fps": f"{FRAMES_PER_S}/1",
        "width": WIDTH_PX,
        "height": HEIGHT_PX,
        "transcript": " ".join(sentence.text for sentence in SENTENCES),
        "word_times_from": "the speech synthesiser's own timing",
        "segments": [
            {**span(i), "text": sentence.text, "words": spoken_words(words[i])} for i, sentence in enumerate(SENTENCES)
        ],
        "cuts": hard_cuts_s(),
        "dissolves": [{"start": s.start_s, "end": s.start_s + s.dissolve_s} for s in SCENES if s.dissolve_s > 0],
        "still": {"start": still.start_s, "end": still.end_s},
        "scenes": [
            {"start": s.start_s, "end": s.end_s, "shows": s.shows, "labels": list(s.labels), "text": s.text} for s in SCENES
        ],
        "questions": [
            {"question": q.question, "answer": q.answer, "kind": q.kind, **span(q.about)} for q in QUESTIONS
        ],
        "sources": sources,
        "speech": {
            "engine": "Festival (Debian package festival)",
            "voice": f"{VOICE} (Debian package festvox-us-slt-hts), by Carnegie Mellon University, Nagoya Institute of "
            "Technology and Tokyo Institute of Technology",
            "licence": "free, permissive: the Festival and Edinburgh Speech Tools licences (MIT-like) and BSD-3-Clause",
        },
    }  # fmt: skip


def check(video: Path) -> dict[str, float]:
    """Decode the clip and compare it with its truth; raise ``ValueError`` where they differ, else return what was measured."""
    with av.open(str(video)) as container:
        luma = [frame.to_ndarray(format="gray").astype(np.int16) for frame in container.decode(video=0)]
    changes = [0.0] + [float(np.mean(np.abs(b - a))) for a, b in itertools.pairwise(luma)]
    cuts = [frame_number(time_s) for time_s in hard_cuts_s()]
    still = next(scene for scene in SCENES if scene.picture is None)
    in_still = changes[frame_number(still.start_s) + 1 : frame_number(still.end_s)]
    elsewhere = [change for number, change in enumerate(changes) if number not in cuts]
    measured = {
        "bytes": video.stat().st_size,
        "frames": len(luma),
        "smallest change at a cut": round(min(changes[cut] for cut in cuts), 2),
        "largest change elsewhere": round(max(elsewhere), 2),
        "largest change in the still stretch": round(max(in_still), 2),
    }
    if measured["bytes"] > MAX_FILE_BYTES:
        raise ValueError(f"the file is too large: {measured}")
    if measured["frames"] != frame_number(duration_s()):
        raise ValueError(f"the number of frames is wrong: {measured}")
    if measured["smallest change at a cut"] < 3 * measured["largest change elsewhere"]:
        raise ValueError(f"a cut does not stand out: {measured}")
    if measured["largest change in the still stretch"] > 1.0:
        raise ValueError(f"the still stretch moves: {measured}")
    return measured


def main() -> None:
    """Build the clip and its truth, then check them."""
    sound, words = make_sound()
    video = OUT_FOLDER / VIDEO_NAME
    encode(sound, video)
    (OUT_FOLDER / TRUTH_NAME).write_text(json.dumps(truth(words), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, value in check(video).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
