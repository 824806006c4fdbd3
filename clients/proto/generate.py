"""Generates ``wavescope_proto.v1`` and ``wavescope_proto.inference`` from the ``.proto`` files beside it.

    uv run --no-project --with grpcio-tools==1.71.0 --with "protobuf==5.29.*" python clients/proto/generate.py

The pinned compiler is the lowest that the distribution's requirements admit: code made by it runs on every
later runtime, while code made by a later one refuses an earlier runtime.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

PINNED_GRPCIO_TOOLS = "1.71.0"
HERE = Path(__file__).resolve().parent
# The folder that a package is generated from, and its source there.
SOURCES = {
    "wavescope_proto/v1": (HERE / "wavescope" / "v1", "explanation.proto"),
    "wavescope_proto/inference": (HERE / "inference", "open_inference.proto"),
}


def generate(out: Path) -> None:
    """Write ``_pb2.py``, ``_pb2.pyi`` and ``_pb2_grpc.py`` of every source below ``out``.

    Raises:
        RuntimeError: the compiler refused the source.
    """
    from grpc_tools import protoc

    out.mkdir(parents=True, exist_ok=True)
    # The path prefixes are mapped: modules named wavescope.v1 would hide the service's own package, and one named
    # inference whatever else bears so common a name.
    arguments = [
        "protoc",
        *(f"-I{package}={folder}" for package, (folder, _) in SOURCES.items()),
        f"-I{Path(protoc.__file__).parent / '_proto'}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--grpc_python_out={out}",
        *(f"{package}/{source}" for package, (_, source) in SOURCES.items()),
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc refused the source; its messages are above")


def main() -> int:
    """Write the generated code into the source tree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "src", help="the folder of wavescope_proto")
    arguments = parser.parse_args()
    if (found := version("grpcio-tools")) != PINNED_GRPCIO_TOOLS:
        print(f"grpcio-tools {PINNED_GRPCIO_TOOLS} is needed, {found} is installed", file=sys.stderr)
        return 1
    generate(arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
