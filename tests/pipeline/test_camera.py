"""How the camera moved between two pictures, and what it does not explain."""

import numpy as np
import pytest

from pipeline.sample.camera import RESTS, Camera, Pixels, differences, follow, moved

pytestmark = pytest.mark.unit


def picture(seed: int = 1) -> Pixels:
    """Coloured noise, rough and smooth."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.normal(size=(36, 64)))
    rows, columns = np.fft.fftfreq(36)[:, None], np.fft.rfftfreq(64)[None, :]
    rough = np.fft.irfft2(spectrum / (0.03 + np.hypot(rows, columns)) ** 1.5, s=(36, 64))
    return (128 + 40 * rough / rough.std()).astype(np.float32)


@pytest.mark.parametrize("camera", [Camera(1.5, -0.7, 1.0), Camera(0.0, 0.0, 0.96), Camera(-1.2, 0.4, 1.03)])
def test_a_shift_and_a_zoom_are_found_and_explain_the_picture(camera: Camera) -> None:
    before = picture()
    after = moved(before, camera)[0]
    found = follow(before, after)
    assert (found.right, found.down, found.zoom) == pytest.approx((camera.right, camera.down, camera.zoom), abs=0.15)
    explained, appeared = differences(before, after, found)
    assert explained.max() < 0.2 * differences(before, after, RESTS)[0].max()
    assert appeared < 0.1


def test_what_moves_by_itself_moves_no_camera_and_is_not_explained() -> None:
    before = picture()
    after = before.copy()
    after[10:22, 30:46] = 20
    found = follow(before, after)
    assert (found.right, found.down, found.zoom) == pytest.approx((0, 0, 1), abs=0.1)
    assert differences(before, after, found)[0].max() > 0.1


@pytest.mark.parametrize("even", [np.full((36, 64), 90, np.float32), np.zeros((36, 64), np.float32)])
def test_an_even_picture_tells_of_no_movement(even: Pixels) -> None:
    found = follow(even, even + 3)
    assert (found.right, found.down, found.zoom) == pytest.approx((0, 0, 1), abs=1e-3)


def test_a_pan_is_followed_until_most_of_the_picture_is_another() -> None:
    wide = np.hstack([picture(1), picture(2)])
    camera = RESTS
    for right in range(2, 41, 2):
        camera = follow(wide[:, :64], wide[:, right : right + 64], camera)
    assert camera.right == pytest.approx(40, abs=1)
    assert differences(wide[:, :64], wide[:, 40:104], camera)[1] == pytest.approx(40 / 64, abs=0.05)


def test_movements_are_chained_and_taken_apart() -> None:
    first, second = Camera(3.0, -1.0, 0.9), Camera(-1.0, 2.0, 1.1)
    both = first.then(second)
    rest = both.since(first)
    assert (rest.right, rest.down, rest.zoom) == pytest.approx((second.right, second.down, second.zoom))
