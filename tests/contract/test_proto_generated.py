"""The committed code is what the pinned compiler makes of the .proto, and loads on what is installed."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from wavescope_proto.inference import open_inference_pb2
from wavescope_proto.v1 import explanation_pb2

PROTO = Path(__file__).parents[2] / "clients" / "proto"
GENERATOR = runpy.run_path(str(PROTO / "generate.py"))
PINNED = GENERATOR["PINNED_GRPCIO_TOOLS"]
MODULES = {"wavescope_proto/v1": explanation_pb2, "wavescope_proto/inference": open_inference_pb2}


@pytest.mark.parametrize("package", MODULES)
def test_descriptor_is_that_of_the_source(package: str, tmp_path: Path) -> None:
    grpc_tools = pytest.importorskip("grpc_tools", reason="needs grpcio-tools")
    folder, source = GENERATOR["SOURCES"][package]
    out = tmp_path / "set"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc",
            f"-I{package}={folder}",
            f"-I{Path(grpc_tools.__file__).parent / '_proto'}",
            f"--descriptor_set_out={out}",
            f"{package}/{source}",
        ],
        check=True,
    )  # fmt: skip
    compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]
    committed = descriptor_pb2.FileDescriptorProto()
    MODULES[package].DESCRIPTOR.CopyToProto(committed)
    clear_json_names(compiled.message_type)
    assert committed == compiled


def clear_json_names(messages: Iterable[descriptor_pb2.DescriptorProto]) -> None:
    """Clear the names that follow from others, which generated code leaves out."""
    for message in messages:
        for field in message.field:
            field.ClearField("json_name")
        clear_json_names(message.nested_type)


@pytest.mark.parametrize("package", MODULES)
def test_code_is_what_the_compiler_makes(package: str, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools")
    GENERATOR["generate"](tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / package).iterdir()}
    stem = Path(GENERATOR["SOURCES"][package][1]).stem
    assert set(made) == {f"{stem}_pb2.py", f"{stem}_pb2.pyi", f"{stem}_pb2_grpc.py"}
    if version("grpcio-tools") == PINNED:  # another makes other code of the same descriptor, compared above
        for name, text in made.items():
            assert text == (PROTO / "src" / package / name).read_text()


@pytest.mark.parametrize("package", MODULES)
def test_code_says_it_was_made_by_the_lowest_supported_compiler(package: str) -> None:
    generated = PROTO / "src" / package
    stem = Path(GENERATOR["SOURCES"][package][1]).stem
    assert f"GRPC_GENERATED_VERSION = '{PINNED}'" in (generated / f"{stem}_pb2_grpc.py").read_text()
    assert "Protobuf Python Version: 5.29.0" in (generated / f"{stem}_pb2.py").read_text()
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
    code = "import wavescope_proto.v1.explanation_pb2_grpc, wavescope_proto.inference.open_inference_pb2_grpc"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
