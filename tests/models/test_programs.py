"""TorchScript and exported programs: their scores, and that nothing in a file runs which its digest does not pin."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.test_onnx_backend import PREPROCESSING as ONNX_PREPROCESSING
from tests.models.test_onnx_backend import write
from torchvision.models.inception import InceptionOutputs

from wavescope.engine.protocols import Classifier, Differentiable
from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid, WeightsUnavailable
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.outputs import NoScoresError, find_scores, scores_at

SIDE = 16
CLASSES = 5
PREPROCESSING = Preprocessing(size=(SIDE, SIDE), resize=None)


class Net(torch.nn.Module):
    """Has what programs go wrong with: batch normalisation, and a view that needs contiguous memory."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3)
        self.normalisation = torch.nn.BatchNorm2d(4)
        self.linear = torch.nn.Linear(4 * (SIDE - 2) ** 2, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.normalisation(self.convolution(images)))
        return self.linear(found.view(found.shape[0], -1))


class Pair(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.mean((2, 3)), images.amax((2, 3))


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return Net().eval()


def images(rows: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(rows).standard_normal((rows, 3, SIDE, SIDE), np.float32))


def script(module: torch.nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), path)
    return path


def export(module: torch.nn.Module, path: Path, *, rows: int = 4, least: int | None = 1) -> Path:
    """A program of any number of images from ``least`` on; for ``None`` of ``rows`` alone."""
    dynamic = None if least is None else ({0: torch.export.Dim("rows", min=least, max=64)},)
    torch.export.save(torch.export.export(module, (images(rows),), dynamic_shapes=dynamic), path)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def backend(kind: str, path: Path, **fields: Any) -> Classifier:
    if path.is_file():
        fields = {"sha256": digest(path)} | fields
    spec = ModelSpec(
        name="m",
        source=f"{kind}:{path}",
        device="cpu",
        **{"preprocessing": PREPROCESSING, "outputs": "logits"} | fields,
    )
    return load(spec, cache_dir=path.parent, threads=1)


@pytest.mark.parametrize(("kind", "save"), [("torchscript", script), ("torch-export", export)])
def test_a_program_scores_as_the_module_it_was_made_of(
    net: torch.nn.Module, tmp_path: Path, kind: str, save: Callable[[torch.nn.Module, Path], Path]
) -> None:
    model = backend(kind, save(net, tmp_path / "a.pt2"))
    for rows in (1, 2, 3, 9):
        found = model.forward(model.to_device(images(rows).numpy()))
        torch.testing.assert_close(found, net(images(rows)), rtol=1e-5, atol=1e-5)
    details = model.details
    assert (details.device, details.precision, len(details.labels)) == ("cpu", "float32", CLASSES)


@pytest.mark.parametrize(("rows", "least", "batch"), [(3, None, 3), (4, 2, 8), (1, None, 1)])
def test_a_program_of_few_batch_sizes_is_padded_and_split(
    net: torch.nn.Module, tmp_path: Path, rows: int, least: int | None, batch: int
) -> None:
    model = backend("torch-export", export(net, tmp_path / "a.pt2", rows=rows, least=least))
    assert model.details.batch_size == batch
    for count in (1, 2, 4, 7):
        found = model.forward(model.to_device(images(count).numpy()))
        torch.testing.assert_close(found, net(images(count)), rtol=1e-5, atol=1e-5)


def test_a_script_scores_the_same_bits_every_time(net: torch.nn.Module, tmp_path: Path) -> None:
    """The profiling executor would go over to other kernels after its first runs."""
    model = backend("torchscript", script(net, tmp_path / "a.pt"))
    first = model.forward(images(4))
    for _ in range(5):
        assert torch.equal(model.forward(images(4)), first)


@pytest.mark.parametrize("kind", ["torchscript", "torch-export"])
def test_a_file_of_another_digest_is_not_opened(net: torch.nn.Module, tmp_path: Path, kind: str) -> None:
    path = script(net, tmp_path / "a.pt") if kind == "torchscript" else export(net, tmp_path / "a.pt2")
    with pytest.raises(RegistryInvalid, match="the registry expects 0000"):
        backend(kind, path, sha256="0" * 64)
    with pytest.raises(WeightsUnavailable, match="there is no file"):
        backend(kind, tmp_path / "absent", sha256="0" * 64)


@pytest.mark.parametrize("kind", ["torchscript", "torch-export"])
def test_a_file_that_is_no_program_is_refused(tmp_path: Path, kind: str) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(RegistryInvalid, match=r"is not a usable (TorchScript file|exported program): "):
        backend(kind, noise)


@pytest.mark.parametrize(("kind", "save"), [("torchscript", script), ("torch-export", export)])
def test_a_program_that_is_no_classifier_is_refused(tmp_path: Path, kind: str, save: Any) -> None:
    with pytest.raises(
        RegistryInvalid,
        match=r"it returns a tuple of 2 tensors .* of which 2 can be scores",
    ):
        backend(kind, save(Pair(), tmp_path / "a.pt2"))
    with pytest.raises(RegistryInvalid, match="does not run on images of"):
        backend(
            kind, save(Net().eval(), tmp_path / "b.pt2"), preprocessing=Preprocessing(size=(8, 8), resize=8)
        )


class Parts(torch.nn.Module):
    """Returns its scores among other things, in a form of its own."""

    def __init__(self, net: torch.nn.Module, form: str) -> None:
        super().__init__()
        self.net = net
        self.form = form

    def forward(self, images: torch.Tensor) -> Any:
        scores = self.net(images)
        features = images.mean((2, 3))
        labels = scores.argmax(1)
        if self.form == "tuple":
            return labels, scores, images
        if self.form == "dictionary":
            return {"features": features, "scores": scores}
        if self.form == "one in a list":
            return [scores]
        if self.form == "logits and probabilities":
            return {"logits": scores, "probabilities": scores.softmax(1)}
        if self.form == "nested":
            return {"head": {"logits": scores, "aux": scores * 2}, "maps": {"features": features}}
        if self.form == "(n, c, 1, 1)":
            return scores[:, :, None, None]
        return scores[:, None]


FORMS = (
    "tuple",
    "dictionary",
    "one in a list",
    "logits and probabilities",
    "nested",
    "(n, c, 1, 1)",
    "(n, 1, c)",
)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("torch-export", form) for form in FORMS]
    + [("torchscript", form) for form in FORMS if form != "nested"],  # which no trace returns
)
def test_the_scores_are_found_among_what_a_program_returns(
    net: torch.nn.Module, tmp_path: Path, kind: str, form: str
) -> None:
    module = Parts(net, form).eval()
    path = tmp_path / "a.pt2"
    if kind == "torch-export":
        export(module, path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(module, images(2), strict=False), path)
    model = backend(kind, path)
    for rows in (1, 2, 5):
        found = model.forward(model.to_device(images(rows).numpy()))
        torch.testing.assert_close(found, net(images(rows)), rtol=1e-5, atol=1e-5)


def test_the_part_that_the_registry_names_is_taken(net: torch.nn.Module, tmp_path: Path) -> None:
    path = export(Parts(net, "nested").eval(), tmp_path / "a.pt2")
    model = backend("torch-export", path, output="head.aux")
    torch.testing.assert_close(model.forward(images(3)), net(images(3)) * 2, rtol=1e-5, atol=1e-5)
    plain = backend("torch-export", path)
    assert model.details.revision != plain.details.revision
    features = backend("torch-export", path, output="maps.features")
    torch.testing.assert_close(features.forward(images(3)), images(3).mean((2, 3)), rtol=1e-5, atol=1e-5)
    with pytest.raises(
        RegistryInvalid, match=r"head\.logits: float32 .* of which 'head' is none that can"
    ) as caught:
        backend("torch-export", path, output="head")
    assert caught.value.field == "output"
    with pytest.raises(RegistryInvalid, match="one tensor, of no name: remove output"):
        backend("torchscript", script(net, tmp_path / "b.pt"), output="logits")
    pair = script(Pair(), tmp_path / "c.pt")
    with pytest.raises(RegistryInvalid, match=r"of which 2 can be scores .*: write output: 0, or another"):
        backend("torchscript", pair)
    maxima = backend("torchscript", pair, output="1")
    torch.testing.assert_close(maxima.forward(images(3)), images(3).amax((2, 3)))


class Inception(torch.nn.Module):
    """Returns as scripted GoogLeNet and Inception do."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> InceptionOutputs:
        return InceptionOutputs(self.net(images), None)


def test_auxiliary_outputs_that_are_none_do_not_matter(net: torch.nn.Module, tmp_path: Path) -> None:
    model = backend("torchscript", script(Inception(net).eval(), tmp_path / "a.pt"))
    torch.testing.assert_close(model.forward(images(3)), net(images(3)), rtol=1e-5, atol=1e-5)


@dataclass
class ImageClassifierOutput:
    """As the models of transformers return."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


class Transformer(torch.nn.Module):
    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> ImageClassifierOutput:
        return ImageClassifierOutput(logits=self.net(images), hidden_states=(images,))


def test_logits_of_a_record_are_found(net: torch.nn.Module) -> None:
    output = Transformer(net)(images(3))
    assert find_scores(output, 3) == ("logits",)
    assert torch.equal(scores_at(output, ("logits",)), net(images(3)))
    assert torch.equal(scores_at(dict(output.__dict__), ("logits",)), net(images(3)))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            {"a": torch.ones(2, 3), "b": torch.ones(2, 4)},
            r"2 tensors \(a: float32 \(2, 3\), b: float32 \(2, 4\)\), of which 2",
        ),
        (
            (torch.ones(2, dtype=torch.int64), torch.ones(2, 3, 4, 4)),
            r"1: float32 \(2, 3, 4, 4\)\), of which none",
        ),
        ({"pooler_output": torch.ones(2, 3)}, "pooler_output: .* of which none can be scores"),
        (None, "a NoneType of 0 tensors"),
        ("x", "a str of 0 tensors"),
        ([{"logits": torch.ones(2, 3)}, {"logits": torch.ones(2, 3)}], "of which 2 can be scores"),
    ],
)
def test_outputs_without_one_part_that_can_be_scores_are_named(output: object, expected: str) -> None:
    with pytest.raises(NoScoresError, match=expected):
        find_scores(output, 2)


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        (
            Preprocessing(size=(8, 8), resize=8),
            r"\(3, 8, 8\): it was exported for \(3, 16, 16\): give that size",
        ),
        (
            Preprocessing(size=(16, 16), resize=16, mean=(0.5,), std=(0.5,)),
            r"\(1, 16, 16\): it was exported for \(3, 16, 16\): give that size, and as many numbers of mean",
        ),
    ],
)
def test_the_images_of_an_exported_program_are_named(
    net: torch.nn.Module, tmp_path: Path, preprocessing: Preprocessing, expected: str
) -> None:
    with pytest.raises(RegistryInvalid, match=expected):
        backend("torch-export", export(net, tmp_path / "a.pt2"), preprocessing=preprocessing)


def test_the_channels_of_a_script_are_named(net: torch.nn.Module, tmp_path: Path) -> None:
    grey = Preprocessing(size=(16, 16), resize=16, mean=(0.5,), std=(0.5,))
    with pytest.raises(
        RegistryInvalid, match=r"its first layer takes 3 channels: mean and std need 3 numbers each"
    ):
        backend("torchscript", script(net, tmp_path / "a.pt"), preprocessing=grey)


class Half(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.mean((2, 3)))


def test_programs_in_half_precision_are_named(tmp_path: Path) -> None:
    module = Half().half().eval()
    with pytest.raises(
        RegistryInvalid, match=r"its weights are float16, images are float32: save it after model"
    ):
        backend("torchscript", script(module, tmp_path / "a.pt"))
    program = torch.export.export(module, (images(2).half(),))
    torch.export.save(program, tmp_path / "b.pt2")
    with pytest.raises(RegistryInvalid, match=r"its images are float16, and here they are float32"):
        backend("torch-export", tmp_path / "b.pt2")


class Dropout(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(self.net(images), training=self.training)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "expected"),
    [(Dropout, "differ from run to run"), (Net, "depend on the other images of a batch")],
)
@pytest.mark.parametrize("kind", ["torch-export", "torchscript"])
def test_programs_in_training_mode_are_refused(
    tmp_path: Path, kind: str, module: type[torch.nn.Module], expected: str
) -> None:
    path = tmp_path / "a.pt2"
    training = module().train()
    if kind == "torch-export":
        export(training, path)
    else:
        torch.jit.save(torch.jit.trace(training, images(4), check_trace=False), path)
    with pytest.raises(
        RegistryInvalid, match=f"its scores {expected}, as in training mode.*: save it anew after model"
    ):
        backend(kind, path)


@pytest.mark.filterwarnings("ignore")
def test_a_program_whose_activations_are_quantised_by_the_batch_runs_image_by_image(tmp_path: Path) -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(images(1)[0].numel(), 5)).eval()
    quantised = torch.ao.quantization.quantize_dynamic(flat, {torch.nn.Linear}, dtype=torch.qint8)
    model = backend("torchscript", script(quantised, tmp_path / "a.pt"))
    assert model.details.batch_size == 1
    given = images(4) * torch.tensor([1.0, 0.01, 3.0, 0.1])[:, None, None, None]
    alone = torch.cat([torch.as_tensor(model.forward(one[None])) for one in given])
    torch.testing.assert_close(torch.as_tensor(model.forward(given)), alone, rtol=0, atol=0)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_program_of_one_batch_size_in_evaluation_mode_is_taken(
    net: torch.nn.Module, tmp_path: Path, rows: int
) -> None:
    assert (
        backend("torch-export", export(net, tmp_path / "a.pt2", rows=rows, least=None)).details.batch_size
        == rows
    )


class Two(torch.nn.Module):
    def forward(self, images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) + others


def test_a_program_of_two_inputs_is_refused(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Two(), (images(2), torch.ones(2, 3))), tmp_path / "a.pt2")
    with pytest.raises(RegistryInvalid, match="a classifier has one input, this program 2"):
        backend("torch-export", tmp_path / "a.pt2")
    with pytest.raises(
        RegistryInvalid, match="a classifier has one input, the images: this model has others"
    ):
        backend("torchscript", script(Two(), tmp_path / "b.pt"))


def test_messages_are_of_our_own(
    net: torch.nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """torch's text, with paths of its sources, is in the log and in the cause alone."""
    path = script(net, tmp_path / "a.pt")
    broken = swapped(path, tmp_path / "b.pt", lambda entry, data: b"x" if entry.endswith(".py") else data)
    small = Preprocessing(size=(8, 8), resize=8)
    for file, fields in ((broken, {}), (path, {"preprocessing": small})):
        with pytest.raises(RegistryInvalid, match="model 'm'") as caught:
            backend("torchscript", file, **fields)
        assert not re.search(r"\n|\x1b|\.cpp|\.py\b|Traceback|Exception|at::|c10", str(caught.value))
        assert caught.value.__cause__ is not None
    assert "torch says: " in caplog.text


class Trap:
    """A pickle of it makes a file when it is loaded by plain pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_the_trap_works(tmp_path: Path) -> None:
    """Else the tests below would show nothing."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def swapped(path: Path, out: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A copy of an archive with other bytes in some of its entries."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return out


def test_a_pickle_in_a_script_does_not_run(net: torch.nn.Module, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "sprung"), protocol=2)
    for name in ("data.pkl", "constants.pkl"):
        path = swapped(
            script(net, tmp_path / "a.pt"),
            tmp_path / f"{name}.pt",
            lambda entry, data, name=name: trap if entry.endswith(f"/{name}") else data,
        )
        with pytest.raises(RegistryInvalid, match="is not a usable TorchScript file"):
            backend("torchscript", path)
    assert not (tmp_path / "sprung").exists()


def saved(thing: object) -> bytes:
    content = io.BytesIO()
    torch.save(thing, content)
    return content.getvalue()


def in_inputs(entry: str, data: bytes, trap: Trap) -> bytes:
    return saved((trap, {})) if "/sample_inputs/" in entry else data


def in_weights(entry: str, data: bytes, trap: Trap) -> bytes:
    if entry.endswith("weights_config.json"):
        return re.sub(rb'"use_pickle": ?false', b'"use_pickle":true', data)
    return saved(trap) if "/data/weights/weight_" in entry else data


def in_old_weights(entry: str, data: bytes, trap: Trap) -> bytes:
    return saved({"x": trap}) if entry.endswith("/data/weights/model.pt") else data


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", [in_inputs, in_weights, in_old_weights])
def test_a_pickle_in_an_exported_program_does_not_run(
    net: torch.nn.Module, tmp_path: Path, place: Callable[[str, bytes, Trap], bytes]
) -> None:
    """PyTorch's own loader runs each of them, which is seen first."""
    path = export(net, tmp_path / "a.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        if place is in_old_weights:
            archive.writestr("a/data/weights/model.pt", b"")
    sprung = tmp_path / "sprung"
    broken = swapped(path, tmp_path / "b.pt2", lambda entry, data: place(entry, data, Trap(sprung)))
    with contextlib.suppress(Exception):
        torch.export.load(broken)
    assert sprung.exists()
    sprung.rmdir()
    with pytest.raises(RegistryInvalid, match="is not a usable exported program"):
        backend("torch-export", broken)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "entry", ["data/constants/opaque_obj_0", "data/constants/custom_obj_0", "data/aotinductor/model/a.so"]
)
def test_objects_and_libraries_in_an_exported_program_are_refused(
    net: torch.nn.Module, tmp_path: Path, entry: str
) -> None:
    path = export(net, tmp_path / "a.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"a/{entry}", pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(RegistryInvalid, match=f"holds 'a/{entry}': pickled objects and compiled code"):
        backend("torch-export", path)
    assert not (tmp_path / "sprung").exists()


def test_loading_a_program_leaves_the_environment_as_it_was(net: torch.nn.Module, tmp_path: Path) -> None:
    before = dict(os.environ)
    backend("torch-export", export(net, tmp_path / "a.pt2"))
    assert dict(os.environ) == before


def test_a_revision_says_what_computes_and_how_it_is_meant(net: torch.nn.Module, tmp_path: Path) -> None:
    """The same model twice has one; another file, size, meaning or naming has another."""
    path = script(net, tmp_path / "a.pt")
    torch.manual_seed(1)
    other = script(Net().eval(), tmp_path / "b.pt")
    labels = tuple("abcde")
    revisions = [
        backend("torchscript", path).details.revision,
        backend("torchscript", other).details.revision,
        backend("torchscript", path, labels=labels).details.revision,
        backend(
            "torchscript",
            path,
            preprocessing=Preprocessing(size=(SIDE, SIDE), resize=None, mean=(0.5,) * 3),
        ).details.revision,
        backend("torch-export", export(net, tmp_path / "c.pt2")).details.revision,
    ]
    assert all(len(revision) == 32 for revision in revisions)
    assert len(set(revisions)) == len(revisions)
    assert backend("torchscript", path, batch_size=3).details.revision == revisions[0]


def test_weights_are_a_part_of_the_revision(tmp_path: Path) -> None:
    import torchvision
    from safetensors.torch import save_file

    def revision(name: str, source: str = "torchvision:resnet18", **fields: Any) -> str:
        spec = ModelSpec(
            name="m",
            source=source,
            device="cpu",
            preprocessing=Preprocessing(size=(64, 64), resize=64),
            weights=str(tmp_path / name) if name != "random" else name,
            **fields,
        )
        return load(spec, cache_dir=tmp_path, threads=1).details.revision

    module = torchvision.models.resnet18(weights=None)
    state = module.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    state["fc.bias"] = state["fc.bias"] + 1e-3
    save_file(state, tmp_path / "b.safetensors")
    # The tensors count, not the file that holds them.
    assert revision("a.safetensors") == revision("a.pth")
    assert len({revision("a.safetensors"), revision("b.safetensors"), revision("random")}) == 3
    assert revision("a.pth", precision="bfloat16") != revision("a.pth")


def test_an_onnx_file_and_its_data_are_the_revision(tmp_path: Path) -> None:
    import onnx

    def revision(path: Path) -> str:
        spec = ModelSpec(
            name="m", source=f"onnx:{path}", preprocessing=ONNX_PREPROCESSING, outputs="logits", threads=1
        )
        return load(spec, cache_dir=tmp_path).details.revision

    whole = write(tmp_path / "whole.onnx")
    assert revision(whole) == revision(write(tmp_path / "again.onnx"))
    model = onnx.load(whole)
    parts = tmp_path / "parts.onnx"
    onnx.save(model, parts, save_as_external_data=True, location="parts.bin", size_threshold=0)
    first = revision(parts)
    assert first != revision(whole)
    data = bytearray((tmp_path / "parts.bin").read_bytes())
    data[3] ^= 1
    (tmp_path / "parts.bin").write_bytes(data)
    assert revision(parts) != first


def test_a_digest_that_covers_half_a_model_is_refused(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "parts.onnx"
    model = onnx.load(write(tmp_path / "whole.onnx"))
    onnx.save(model, path, save_as_external_data=True, location="parts.bin", size_threshold=0)
    with pytest.raises(
        RegistryInvalid, match=r"covers 'parts.onnx' alone, which keeps weights in parts\.bin"
    ):
        backend("onnx", path, preprocessing=ONNX_PREPROCESSING)


@pytest.mark.parametrize("location", ["../outside.bin", "sub/../../outside.bin", "link.bin", "{absolute}"])
def test_an_onnx_files_data_outside_its_folder_is_not_read(tmp_path: Path, location: str) -> None:
    """ONNX Runtime's own check: a model could else show any file of the machine in its scores."""
    import onnx

    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    path = inside / "a.onnx"
    model = onnx.load(write(tmp_path / "whole.onnx"))
    onnx.save(model, path, save_as_external_data=True, location="data.bin", size_threshold=0)
    outside = tmp_path / "outside.bin"
    outside.write_bytes((inside / "data.bin").read_bytes())
    (inside / "link.bin").symlink_to(outside)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location.format(absolute=outside)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(RegistryInvalid, match="usable ONNX model: it keeps weights in other files"):
        backend("onnx", path, preprocessing=ONNX_PREPROCESSING, sha256=None)


class Writing(torch.nn.Module):
    """Changes its input before it looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * SIDE * SIDE, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images.mul_(2.0).sub_(0.5)
        return self.linear(images.flatten(1))


@pytest.mark.parametrize(("kind", "save"), [("torchscript", script), ("torch-export", export)])
def test_a_program_that_writes_into_its_input_is_given_copies(
    tmp_path: Path, kind: str, save: Callable[[torch.nn.Module, Path], Path]
) -> None:
    torch.manual_seed(0)
    module = Writing().eval()
    model = backend(kind, save(module, tmp_path / "a.pt2"))
    assert model.details.no_gradients is None
    assert isinstance(model, Differentiable)
    given = images(3)
    with torch.no_grad():
        expected = module(given.clone())
    for _ in range(2):
        torch.testing.assert_close(model.forward(given), expected)
    assert torch.equal(given, images(3))
    weights = torch.eye(CLASSES)[:3]
    _, slopes = model.gradients(given, weights)
    by_hand = 2 * module.linear.weight[:3].reshape(3, 3, SIDE, SIDE).detach()
    std = torch.tensor(PREPROCESSING.std)[:, None, None]
    torch.testing.assert_close(slopes, by_hand / std)


class Stepped(torch.nn.Module):
    """Has no slope: its input is rounded, or the graph ends at its output, or a sigmoid is 0 or 1 nearly everywhere."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * SIDE * SIDE, CLASSES)
        self.rounds = way == "rounds"
        self.saturates = way == "saturates"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.rounds:
            return self.linear(torch.round(images * 255).flatten(1) / 255)
        found = self.linear(images.flatten(1))
        if self.saturates:
            return torch.sigmoid(found * 1e6)
        return found.detach() + 0 * found


@pytest.mark.parametrize(
    ("way", "outputs", "told"),
    [("rounds", "logits", True), ("detaches", "logits", True), ("saturates", "sigmoid", False)],
)
def test_a_program_whose_slopes_are_all_0_has_no_gradients_unless_it_is_saturated(
    tmp_path: Path, way: str, outputs: str, told: bool
) -> None:
    torch.manual_seed(0)
    model = backend("torchscript", script(Stepped(way).eval(), tmp_path / "a.pt"), outputs=outputs)
    reason = "its outputs vary, and have a slope of 0 by every pixel, as where they are rounded or detached"
    assert model.details.no_gradients == (reason if told else None)
