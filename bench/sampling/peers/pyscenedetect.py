"""Run inside PySceneDetect's environment: `python pyscenedetect.py DETECTOR FILE...`, a JSON line a file.

Decodes with OpenCV and detects with the detector's defaults, as `detect()` does, but that shots may be as short as they are:
its least length of 0.6 s is left out, with which it misses true cuts by design. With `--defaults` it is kept. Of OpenCV's
decoding threads one is left, so that processor time is that of one core.
"""

import os
import sys

os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")

import cv2
import report
import scenedetect
from scenedetect import AdaptiveDetector, ContentDetector, SceneManager, open_video

cv2.setNumThreads(1)
DETECTORS = {"adaptive": AdaptiveDetector, "content": ContentDetector}


def main() -> None:
    """Detect in each file."""
    name, *files = sys.argv[1:]
    options = {}
    if "--defaults" in files:
        files.remove("--defaults")
    else:
        options["min_scene_len"] = 1
    for file in files:
        watch = report.Watch(file)
        video = open_video(file, backend="opencv")
        manager = SceneManager()
        manager.add_detector(DETECTORS[name](**options))
        manager.detect_scenes(video)
        borders = [start.seconds for start, _ in manager.get_scene_list()][1:]
        watch.tell(borders, video.frame_number, scenedetect=scenedetect.__version__, opencv=cv2.__version__)


main()
