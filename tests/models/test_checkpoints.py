"""Weights as training scripts write them: found, freed of prefixes, or refused in a sentence; nothing in them runs."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import logging
import os
import pathlib
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from safetensors.torch import save_file

from wavescope.errors import RegistryInvalid
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.checkpoints import StateDict, read_state_dicts
from wavescope.models.torch.fitting import fit

State = Mapping[str, torch.Tensor]


class Net(torch.nn.Module):
    """Has what names of checkpoints are about: a head of its own, and buffers."""

    def __init__(self, classes: int = 4, channels: int = 3) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, 2, 3)
        self.bn = torch.nn.BatchNorm2d(2)
        self.fc = torch.nn.Linear(2, classes)


def made(seed: int = 1, **sizes: int) -> Net:
    torch.manual_seed(seed)
    return Net(**sizes)


def prefixed(state: State, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def loaded(path: Path, **fields: Any) -> Net:
    """A network of other weights, filled from the file."""
    spec = ModelSpec(name="m", source="torchvision:net", weights=str(path), **fields)
    net = made(seed=2)
    fit(spec, net, read_state_dicts(spec, path))
    return net


def assert_same(net: Net, state: State) -> None:
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype)), name


def refusal(path: Path, **fields: Any) -> str:
    """The message that refuses the file, which is one line of our own."""
    with pytest.raises(RegistryInvalid, match="weights") as caught:
        loaded(path, **fields)
    assert caught.value.field == "weights"
    message = str(caught.value)
    assert_ours(message)
    return message


def assert_ours(message: str) -> None:
    for foreign in (
        "\n",
        "\x1b",
        "UnpicklingError",
        "Unpickler",
        ".cpp",
        ".py",
        "weights_only",
        "Traceback",
        "0x",
    ):
        assert foreign not in message


def saved(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def optimiser_state(net: Net) -> dict[str, Any]:
    optimiser = torch.optim.Adam(net.parameters())
    net.fc(net.conv(torch.rand(1, 3, 3, 3)).flatten(1)).sum().backward()
    optimiser.step()
    return optimiser.state_dict()


CONTAINERS: dict[str, Callable[[State, Net], object]] = {
    "alone": lambda state, _: state,
    "tutorial": lambda state, net: {
        "epoch": 5,
        "model_state_dict": state,
        "optimizer_state_dict": optimiser_state(net),
        "loss": torch.tensor(0.4),
    },
    "lightning": lambda state, net: {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed(state, "model."),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "x.ckpt"}},
        "optimizer_states": [optimiser_state(net)],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "path": pathlib.PurePosixPath("x")},
    },
    "lightning with a loss and metrics": lambda state, _: {
        "state_dict": {
            **prefixed(state, "net."),
            "criterion.weight": torch.ones(4),
            "loss_fn.weight": torch.ones(4),
            "val_acc.tp": torch.zeros(4),
        }
    },
    "timm": lambda state, net: {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": state,
        "optimizer": optimiser_state(net),
        "version": 2,
        "args": argparse.Namespace(lr=0.1, data=pathlib.Path("x"), start=datetime.datetime.now(datetime.UTC)),
        "amp_scaler": {"scale": 65536.0},
        "metric": np.float64(81.2),
    },
    "net": lambda state, _: {"net": prefixed(state, "module."), "acc": 93.1, "epoch": 3},
    "two keys deep": lambda state, _: {"checkpoint": {"model": state}, "iteration": np.int64(7)},
    "deepspeed": lambda state, _: {"module": prefixed(state, "module."), "ds_version": "0.1"},
    "averaged": lambda state, _: {**prefixed(state, "module."), "n_averaged": torch.tensor(3)},
    "parameters": lambda state, _: {name: torch.nn.Parameter(v, False) for name, v in state.items()},
    "arrays and odds beside": lambda state, _: {
        "state_dict": state,
        "history": np.zeros(3),
        "best": types.SimpleNamespace(epoch=1),
        "losses": collections.defaultdict(list, {"train": [1.0]}),
        "counts": collections.Counter("aab"),
        "order": {"x", "y"},
        "size": torch.Size([1]),
        "big": 10**40,
    },
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_weights_are_found_in_what_training_scripts_write(tmp_path: Path, name: str) -> None:
    net = made()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    assert_same(loaded(saved(tmp_path / "a.pth", CONTAINERS[name](state, net))), state)


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("yacs.config.CfgNode", dict),
        ("easydict.EasyDict", dict),
        ("lightning.fabric.utilities.data.AttributeDict", dict),
        ("omegaconf.dictconfig.DictConfig", object),
        ("omegaconf.listconfig.ListConfig", object),
    ],
)
def test_settings_of_libraries_that_are_not_installed_are_read_as_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, base: type
) -> None:
    """Classes of these names, with items and attributes, as the libraries' own are pickled."""
    place, _, last = name.rpartition(".")
    kind = type(last, (base,), {"__module__": place})
    with monkeypatch.context() as patched:
        parts = place.split(".")
        for count in range(1, len(parts) + 1):
            patched.setitem(sys.modules, ".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
        setattr(sys.modules[place], last, kind)
        settings: Any = kind()
        settings.__dict__.update(_content={"lr": 0.1}, flag=None)
        if base is dict:
            settings["lr"] = 0.1
        path = saved(tmp_path / "a.pth", {"config": settings, "model": made().state_dict()})
    assert_same(loaded(path), made().state_dict())


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "model.",
        "net.",
        "model._orig_mod.module.",
        "_orig_mod.module.model.",
        "module.model.net.backbone.",
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_prefixes_are_taken_off_in_any_order(tmp_path: Path, prefix: str, suffix: str) -> None:
    state = made().state_dict()
    path = tmp_path / f"a{suffix}"
    save_file(prefixed(state, prefix), path) if suffix != ".pth" else torch.save(
        prefixed(state, prefix), path
    )
    assert_same(loaded(path), state)


def test_parts_that_were_compiled_one_by_one_have_their_names_back(tmp_path: Path) -> None:
    state = made().state_dict()
    compiled = {name.replace("conv.", "conv._orig_mod."): value for name, value in state.items()}
    assert_same(loaded(saved(tmp_path / "a.pth", compiled)), state)


def test_counts_of_batches_may_be_missing(tmp_path: Path) -> None:
    """PyTorch before 0.4.1 wrote none, and evaluation uses none."""
    state = made().state_dict()
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    net = loaded(saved(tmp_path / "a.pth", old, _use_new_zipfile_serialization=False))
    assert_same(net, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_computed_with_in_float32(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    state = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in made().state_dict().items()
    }
    net = loaded(saved(tmp_path / "a.pth", state))
    assert net.fc.weight.dtype == torch.float32
    assert_same(net, state)


def test_averaged_weights_beside_the_plain_ones_have_to_be_chosen(tmp_path: Path) -> None:
    plain, averaged = made(1).state_dict(), made(3).state_dict()
    path = saved(tmp_path / "a.pth", {"state_dict": plain, "state_dict_ema": prefixed(averaged, "module.")})
    message = refusal(path)
    assert "holds 2 sets of weights for 'torchvision:net'" in message
    assert "at ['state_dict'] and at ['state_dict_ema'] under 'module.'" in message
    chosen = tmp_path / "ema.pth"
    assert "torch.save(torch.load('a.pth')['state_dict_ema'], 'weights.pth')" in message
    torch.save(torch.load(path)["state_dict_ema"], chosen)
    assert_same(loaded(chosen), averaged)


def test_two_networks_in_one_dictionary_have_to_be_chosen(tmp_path: Path) -> None:
    both = {**prefixed(made(1).state_dict(), "student."), **prefixed(made(3).state_dict(), "teacher.")}
    message = refusal(saved(tmp_path / "a.pth", both))
    assert "at the top under 'student.' and at the top under 'teacher.'" in message


def test_the_same_weights_twice_are_one_set(tmp_path: Path) -> None:
    state = made().state_dict()
    assert_same(loaded(saved(tmp_path / "a.pth", {"model": state, "ema": dict(state)})), state)


def test_a_set_that_is_not_whole_is_left_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = made().state_dict()
    parameters = {name: torch.zeros_like(value) for name, value in made().named_parameters()}
    with caplog.at_level(logging.WARNING):
        net = loaded(saved(tmp_path / "a.pth", {"state_dict": state, "ema": parameters}))
    assert_same(net, state)
    assert "the weights at ['state_dict'] are taken; incomplete ones at ['ema'] are not" in caplog.text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "its classifier 'fc' has 7 classes, the model's own has 4"),
        (("a", "b", "c", "d"), "its classifier 'fc' has 7 classes, labels has 4 names"),
    ],
)
def test_another_number_of_classes_is_named_with_both(
    tmp_path: Path, labels: tuple[str, ...] | None, expected: str
) -> None:
    message = refusal(saved(tmp_path / "a.pth", made(classes=7).state_dict()), labels=labels)
    assert expected in message
    assert message.endswith("give its labels, 7 names")


def test_other_shapes_are_named(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path / "a.pth", made(channels=1).state_dict()))
    assert "conv.weight is (2, 1, 3, 3), the model's is (2, 3, 3, 3)" in message


def changed(state: State, **changes: Any) -> dict[str, Any]:
    """The state without what is ``None``, and with what is not."""
    names = {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in {**state, **names}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fc__bias": None}, "1 of the model's 9 tensors are missing (fc.bias)"),
        ({"more__weight": torch.ones(1)}, "1 are not the model's (more.weight)"),
        (
            {"fc__weight": None, "fc__bias": None, "fc__0__weight": torch.ones(1)},
            "2 of the model's 9 tensors are missing (fc.weight, fc.bias), and 1 are not the model's (fc.0.weight)",
        ),
        (
            {"bn__running_mean": None, "bn__running_var": None, "bn__num_batches_tracked": None},
            "parameters without its buffers (bn.running_mean, bn.running_var): write model.state_dict()",
        ),
        ({"fc__weight": torch.ones(4, 2, dtype=torch.int8)}, "its weights are quantised"),
        (
            {"fc__weight": torch.ones(4, 2).to_sparse()},
            "are sparse, distributed or without content (fc.weight)",
        ),
        ({"fc__weight": torch.ones(4, 2, device="meta")}, "without content (fc.weight): write plain ones"),
        ({"fc__weight": torch.full((4, 2), torch.nan)}, "1 of its tensors hold NaN (fc.weight)"),
        ({"fc__weight": np.ones((4, 2))}, "fc.weight are no tensors of PyTorch"),
    ],
)
def test_names_that_differ_are_counted_and_named(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(saved(tmp_path / "a.pth", changed(made().state_dict(), **changes)))


def test_a_part_of_a_larger_model_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    """Else the layers after it would be left out without a word."""
    state = {**prefixed(made().state_dict(), "backbone."), "head.weight": torch.ones(2, 4)}
    assert "1 are not the model's (head.weight)" in refusal(saved(tmp_path / "a.pth", state))


def test_another_architecture_is_named_by_what_both_have(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path / "a.pth", {"embed.weight": torch.ones(1)}))
    assert "none of its 1 tensors (embed.weight) has a name of the model's (conv.weight, conv.bias" in message


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    net = torch.nn.Sequential(collections.OrderedDict(fc=torch.nn.Linear(2, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear})
        path = saved(tmp_path / "a.pth", quantised.state_dict())
    assert "its weights are quantised" in refusal(path)


@pytest.mark.parametrize("old", [False, True])
def test_a_whole_pickled_model_is_named_as_such(tmp_path: Path, old: bool) -> None:
    path = saved(tmp_path / "a.pth", torch.nn.Linear(2, 2), _use_new_zipfile_serialization=not old)
    message = refusal(path)
    if not old:
        assert (
            "a whole model pickled by torch.save(model), of class torch.nn.modules.linear.Linear" in message
        )
    assert "write its weights with torch.save(model.state_dict(), 'weights.pth')" in message.replace(
        "write the weights", "write its weights"
    )


class Trap:
    """A pickle of it makes a folder when it is loaded by plain pickle."""

    def __init__(self, path: Path, function: Callable[..., object] = os.mkdir) -> None:
        self.call = function, (str(path),)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def springs(path: Path) -> None:
    path.mkdir()


class Config:
    """A class of a training script."""


@pytest.mark.parametrize("function", [os.mkdir, os.makedirs, springs, eval, getattr, pickle.loads])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("place", ["root", "beside", "within"])
def test_what_a_file_would_run_does_not_run(
    tmp_path: Path, function: Callable[..., object], old: bool, place: str
) -> None:
    sprung = tmp_path / "sprung"
    trap = Trap(sprung, function)
    state: dict[str, Any] = dict(made().state_dict())
    content = {
        "root": trap,
        "beside": {"state_dict": state, "args": argparse.Namespace(x=trap)},
        "within": {**state, "fc.bias": trap},
    }[place]
    path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=not old)
    message = refusal(path)
    assert not sprung.exists()
    assert function.__name__ in message


def test_the_trap_works(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    torch.load(saved(tmp_path / "a.pth", {"x": Trap(tmp_path / "sprung")}), weights_only=False)
    assert (tmp_path / "sprung").exists()


def test_what_is_read_as_nothing_keeps_nothing(tmp_path: Path) -> None:
    """The objects that stand for arguments and the like do not survive the reading, nor does the permission to read."""
    path = saved(tmp_path / "a.pth", {"args": argparse.Namespace(lr=1), "state_dict": made().state_dict()})
    loaded(path)
    with pytest.raises(pickle.UnpicklingError, match="argparse"):
        torch.load(path, weights_only=True)


def test_a_class_of_a_script_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"state_dict": made().state_dict(), "config": Config()})
    message = refusal(path)
    assert f"it names {Config.__module__}.Config, and nothing is unpickled that could run code" in message
    assert "torch.save(model.state_dict(), 'weights.pth'), or as .safetensors" in message


def test_another_pickle_protocol_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", made().state_dict(), pickle_protocol=4)
    assert "it was not pickled as torch.save does by default" in refusal(path)


@pytest.mark.parametrize("content", [{}, [], 3, {"epoch": 3}, torch.ones(3), {"state_dict": {}}])
def test_a_file_without_tensors_by_name_is_refused(tmp_path: Path, content: object) -> None:
    assert "holds no state dictionary of tensors" in refusal(saved(tmp_path / "a.pth", content))


def test_weights_in_several_files_are_refused(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"fc.bias": "model-00001-of-00002.safetensors"}}')
    assert "is the list of the several files" in refusal(index)
    part = tmp_path / "model-00001-of-00002.safetensors"
    save_file({"fc.bias": torch.ones(4)}, part)
    assert "is one of the several files" in refusal(part)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def torch_bytes(state: State) -> bytes:
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


OTHER_FILES: dict[str, tuple[Callable[[State], bytes], str]] = {
    "lfs": (
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a Git LFS pointer, not the file itself",
    ),
    "page": (lambda _: b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    "empty": (lambda _: b"", "an empty file"),
    "cut off": (lambda state: truncated(torch_bytes(state)), "cut off or damaged"),
    "cut off safetensors": (
        lambda state: truncated(safetensors.torch.save(dict(state))),
        "cut off before its end",
    ),
    "keras": (lambda _: b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file, as Keras writes (.h5)"),
    "pickle": (lambda _: pickle.dumps({"a": 1}), "a Python pickle, which is never run"),
    "noise": (lambda _: np.random.default_rng(0).bytes(500), "is not a weights file that can be read"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ".ckpt"])
@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_that_is_something_else_is_named_as_what_it_is(tmp_path: Path, name: str, suffix: str) -> None:
    make, expected = OTHER_FILES[name]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make(made().state_dict()))
    assert expected in refusal(path)


def test_a_folder_and_a_program_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert "is a folder: name the model's file" in refusal(folder)
    path = tmp_path / "a.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    assert "is a TorchScript file: give it as source" in refusal(path)


def test_the_content_decides_not_the_ending(tmp_path: Path) -> None:
    state = made().state_dict()
    (tmp_path / "a.pth").write_bytes(safetensors.torch.save(dict(state)))
    (tmp_path / "a.safetensors").write_bytes(torch_bytes(state))
    for name in ("a.pth", "a.safetensors"):
        assert_same(loaded(tmp_path / name), state)


@pytest.mark.parametrize("length", [0x0280, 0x8B1F])
def test_a_header_whose_length_looks_like_another_type_is_one_of_safetensors(
    tmp_path: Path, length: int
) -> None:
    """A pickle begins with 80 02, a file of gzip with 1f 8b, as these lengths do."""
    state = made().state_dict()
    whole = safetensors.torch.save(dict(state))
    size = int.from_bytes(whole[:8], "little")
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + whole[8 : 8 + size].ljust(length) + whole[8 + size :])
    assert_same(loaded(path), state)


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_damage_anywhere_in_a_file_ends_in_a_sentence(tmp_path: Path, form: str) -> None:
    """Or in weights, where it is in a number; most of it is done to the beginning, which holds no numbers."""
    state = made().state_dict()
    path = tmp_path / "a.pth"
    old = io.BytesIO()
    torch.save(state, old, _use_new_zipfile_serialization=False)
    whole = {
        "zip": torch_bytes(state),
        "old": old.getvalue(),
        "safetensors": safetensors.torch.save(dict(state)),
    }[form]
    random = np.random.default_rng(0)
    messages: list[str] = []
    for _ in range(300):
        content = bytearray(whole)
        for place in random.integers(
            len(whole) if random.random() < 0.3 else 700, size=random.integers(1, 4)
        ):
            content[place] = random.integers(256)
        path.write_bytes(content[: random.integers(len(whole))] if random.random() < 0.2 else content)
        try:
            loaded(path)
        except RegistryInvalid as error:
            messages.append(str(error))
    assert messages
    for message in messages:
        assert_ours(message)
        assert message.isprintable()


def test_names_that_cannot_be_printed_are_escaped_and_cut(tmp_path: Path) -> None:
    state = {**made().state_dict(), "x\x1b[31m": torch.ones(1), "y" * 1000: torch.ones(1)}
    message = refusal(saved(tmp_path / "a.pth", state))
    assert r"2 are not the model's ('x\x1b[31m', yyy" in message
    assert len(message) < 700


@pytest.mark.parametrize("classes", [4, 9])
def test_auxiliary_classifiers_are_not_needed(classes: int) -> None:
    """They are for training; a model that was fine-tuned may have them of the classes it had before."""
    net = torchvision.models.googlenet(weights=None, init_weights=False, num_classes=4).eval()
    other = torchvision.models.googlenet(weights=None, init_weights=False, num_classes=classes)
    state = net.state_dict()
    spec = ModelSpec(name="m", source="torchvision:googlenet", weights="a.pth")
    fresh = torchvision.models.googlenet(weights=None, init_weights=False, num_classes=4).eval()
    aux = {name: value for name, value in other.state_dict().items() if name.startswith("aux")}
    fit(spec, fresh, [StateDict((), {**state, **aux})])
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(fresh(images), net(images))
    fit(spec, fresh, [StateDict((), {name: value for name, value in state.items() if name not in aux})])
