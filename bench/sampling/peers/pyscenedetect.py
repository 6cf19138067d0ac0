"""Run inside PySceneDetect's environment: `python pyscenedetect.py DETECTOR FILE...`, a JSON line a file.

Decodes with OpenCV and detects with the detector's defaults, as `detect()` does, but that shots may be as short as they are:
its least length of 0.6 s is left out, with which it misses true cuts by design. With `--defaults` it is kept. Of OpenCV's
decoding threads one is left, so that processor time is that of one core.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")

import cv2
import scenedetect
from scenedetect import AdaptiveDetector, ContentDetector, SceneManager, open_video

cv2.setNumThreads(1)
DETECTORS = {"adaptive": AdaptiveDetector, "content": ContentDetector}


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def main() -> None:
    """Detect in each file."""
    name, *files = sys.argv[1:]
    options = {}
    if "--defaults" in files:
        files.remove("--defaults")
    else:
        options["min_scene_len"] = 1
    for file in files:
        begun, clock = time.process_time(), time.perf_counter()
        video = open_video(file, backend="opencv")
        manager = SceneManager()
        manager.add_detector(DETECTORS[name](**options))
        manager.detect_scenes(video)
        found = [round(start.get_seconds(), 4) for start, _ in manager.get_scene_list()][1:]
        spent, wall = time.process_time() - begun, time.perf_counter() - clock
        print(
            json.dumps(
                {
                    "file": file,
                    "borders": found,
                    "cpu_s": spent,
                    "wall_s": wall,
                    "frames": video.frame_number,
                    "peak_mib": peak_mib(),
                    "versions": {"scenedetect": scenedetect.__version__, "opencv": cv2.__version__},
                }
            ),
            flush=True,
        )


main()
