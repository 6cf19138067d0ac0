"""Generate the Python modules for every .proto file, beside it."""

from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).parent


def main() -> int:
    """Write `*_pb2.py` and `*_pb2.pyi` for all files, `*_pb2_grpc.py` for the services; returns protoc's status."""
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    services = [name for name in files if name.endswith("_service.proto")]
    common = ["protoc", f"-I{ROOT}", f"-I{well_known}"]
    messages = [*common, f"--python_out={ROOT}", f"--pyi_out={ROOT}", *files]
    stubs = [*common, f"--grpc_python_out={ROOT}", *services]
    return int(protoc.main(messages)) or int(protoc.main(stubs))


if __name__ == "__main__":
    raise SystemExit(main())
