"""Make pipeline/safety/offensive.npz: the weights of the package alt-profanity-check, as arrays.

    pip download --no-deps alt-profanity-check==1.9.1 && python tools/offensive_classifier.py alt_profanity_check-1.9.1-py3-none-any.whl

Needs scikit-learn 1.9.1, because the package keeps the fitted objects as pickles. Unpickling runs code: do it where that is no
matter. Each wheel is checked against the hash below before anything of it is read.
"""

import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

WHEEL_SHA256 = "cccb8ce072306bac21188670777a25cfb1de978aa8c7a93c8e4a43c03b3945c3"
OUT = Path(__file__).parent.parent / "pipeline" / "safety" / "offensive.npz"


def main(wheel: Path) -> None:
    """Read the wheel and write the arrays; raises `SystemExit` for another wheel."""
    import joblib  # type: ignore[import-untyped]

    content = wheel.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WHEEL_SHA256:
        raise SystemExit(f"{wheel} has the SHA-256 {found}, not {WHEEL_SHA256}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        vectorizer: Any = joblib.load(io.BytesIO(archive.read("profanity_check/data/vectorizer.joblib")))
        model: Any = joblib.load(io.BytesIO(archive.read("profanity_check/data/model.joblib")))
    words = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    machines = [each.estimator for each in model.calibrated_classifiers_]
    calibrators = [each.calibrators[0] for each in model.calibrated_classifiers_]
    np.savez_compressed(
        OUT,
        vocabulary=np.frombuffer("\n".join(words).encode(), np.uint8),
        idf=vectorizer.idf_.astype(np.float32),
        coefficients=np.array([machine.coef_[0] for machine in machines], np.float32),
        intercepts=np.array([machine.intercept_[0] for machine in machines]),
        slopes=np.array([calibrator.a_ for calibrator in calibrators]),
        offsets=np.array([calibrator.b_ for calibrator in calibrators]),
    )
    print(f"{OUT}: {len(words):,} words, {len(machines)} machines")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
