"""The committed code is what the pinned compiler makes of the .proto, and loads on what is installed."""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from wavescope_proto.v1 import explanation_pb2

PROTO = Path(__file__).parents[2] / "clients" / "proto"
GENERATOR = runpy.run_path(str(PROTO / "generate.py"))
PINNED = GENERATOR["PINNED_GRPCIO_TOOLS"]


def test_descriptor_is_that_of_the_source(tmp_path: Path) -> None:
    grpc_tools = pytest.importorskip("grpc_tools", reason="needs grpcio-tools")
    out = tmp_path / "set"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc",
            f"-Iwavescope_proto/v1={PROTO / 'wavescope' / 'v1'}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            f"--descriptor_set_out={out}",
            "wavescope_proto/v1/explanation.proto",
        ],
        check=True,
    )  # fmt: skip
    compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]
    committed = descriptor_pb2.FileDescriptorProto()
    explanation_pb2.DESCRIPTOR.CopyToProto(committed)
    for message in compiled.message_type:  # names that follow from others, which generated code leaves out
        for field in [*message.field, *(field for nested in message.nested_type for field in nested.field)]:
            field.ClearField("json_name")
    assert committed == compiled


def test_code_is_what_the_compiler_makes(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools")
    GENERATOR["generate"](tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / "wavescope_proto" / "v1").iterdir()}
    assert set(made) == {"explanation_pb2.py", "explanation_pb2.pyi", "explanation_pb2_grpc.py"}
    if (
        version("grpcio-tools") == PINNED
    ):  # another one makes other code of the same descriptor, compared above
        for name, text in made.items():
            assert text == (PROTO / "src" / "wavescope_proto" / "v1" / name).read_text()


def test_code_says_it_was_made_by_the_lowest_supported_compiler() -> None:
    generated = PROTO / "src" / "wavescope_proto" / "v1"
    assert f"GRPC_GENERATED_VERSION = '{PINNED}'" in (generated / "explanation_pb2_grpc.py").read_text()
    assert "Protobuf Python Version: 5.29.0" in (generated / "explanation_pb2.py").read_text()
    assert f"grpcio>={PINNED.removesuffix('.0')}," in (PROTO / "pyproject.toml").read_text()


def test_generator_refuses_another_compiler(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools")
    if version("grpcio-tools") == PINNED:
        pytest.skip("the pinned compiler is installed")
    ran = subprocess.run(
        [sys.executable, PROTO / "generate.py", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert f"grpcio-tools {PINNED} is needed" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_generated_code_loads_without_warnings() -> None:
    code = "import wavescope_proto.v1.explanation_pb2_grpc"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
