"""The command line, run through ``main`` on the embedded model."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea
from tools.demo import free_port

from wavescope import __version__
from wavescope.cli import build_parser, main
from wavescope.engine.choices import CHOICES
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.types import ExplanationRequest

QUICK = ["--grid-size", "4", "--nb-design", "2"]  # 36 forwards
REQUEST = {field.name: field for field in dataclasses.fields(ExplanationRequest)}

Failing = Callable[..., str]


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "chelsea.png"
    Image.fromarray(chelsea()).save(path)
    return path


@pytest.fixture(scope="module")
def explained(photograph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three outputs of one explanation."""
    folder = tmp_path_factory.mktemp("outputs")
    outputs = ["-o", folder / "out.png", "--json", folder / "out.json", "--npz", folder / "out.npz"]
    assert main([str(word) for word in ["explain", photograph, *QUICK, "--seed", 3, *outputs]]) == 0
    return folder


@pytest.fixture
def failing(capsys: pytest.CaptureFixture[str]) -> Failing:
    """Runs ``main``, which must fail with status 2, nothing on stdout, and one line on stderr: returned."""

    def run(*words: object) -> str:
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        told = capsys.readouterr()
        assert status == 2
        assert told.out == ""
        assert told.err.count("\n") == 1
        return told.err

    return run


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"wavescope {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("explain",),
        ("paint",),
        ("explain", "a.png", "--colour", "red"),
        ("explain", "a.png", "--grid", "4"),
    ],
)
def test_a_wrong_command_is_one_line_that_leads_to_the_help(failing: Failing, words: tuple[str, ...]) -> None:
    assert "--help" in failing(*words)


def test_every_field_of_a_request_is_an_option() -> None:
    values = {
        "int": 5,
        "float": 0.5,
        "str": "other",
        "int | str | None": 285,
        "str | None": "other",
        "bool": True,
        "int | None": 64,
        "float | None": 0.5,
    }
    given = {name: CHOICES.get(name, [values[str(field.type)]])[-1] for name, field in REQUEST.items()}
    words = [
        word
        for name, value in given.items()
        for word in (f"--{name.replace('_', '-')}", *([] if value is True else [str(value)]))
    ]
    parsed = vars(build_parser().parse_args(["explain", "a.png", *words]))
    assert {name: parsed[name] for name in REQUEST} == given | {"target": ["285"], "against": "285"}


def test_what_is_not_given_is_left_to_the_engine() -> None:
    parsed = vars(build_parser().parse_args(["explain", "a.png"]))
    assert not {*REQUEST, "model", "other"} & set(parsed)


@pytest.mark.parametrize("text", ["281", "-1", "tabby", "1e3", "name:2"])
def test_a_target_stays_text_until_the_model_s_names_are_known(text: str) -> None:
    assert build_parser().parse_args(["explain", "a.png", "--target", text]).target == [text]


@pytest.fixture
def explain_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main(["explain", "--help"])
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 110
    return " ".join(told.split())


def test_the_help_tells_every_choice_and_meaning(explain_help: str) -> None:
    for name in REQUEST:
        entry = _entry(explain_help, name)
        assert len(entry.split()) > 3, name
        if name not in ("wavelet", "target"):
            for choice in CHOICES.get(name, ()):
                assert choice is None or choice in entry
    for kind in KINDS:
        assert f"--kind {kind}" in explain_help or kind == "wcam"  # an example of each but the default


def test_the_help_tells_the_defaults_of_every_kind(explain_help: str) -> None:
    for name in REQUEST:
        entry = _entry(explain_help, name)
        full, adaptive = (getattr(make_request(plan=plan), name) for plan in ("full", "adaptive"))
        assert (f"plan adaptive: {adaptive})" in entry) == (adaptive != full and name != "plan")
        plan = {} if name == "plan" else {"plan": "full"}
        usual = getattr(make_request(**plan), name)
        if usual is None or usual is False:
            assert "(default:" not in entry
            continue
        assert f"(default: {usual}" in entry
        for kind in KINDS:
            settled = getattr(make_request(kind=kind, **plan), name)
            assert (f"; {kind}: {settled}" in entry) == (settled != usual and name != "kind")


def test_the_help_tells_a_whole_sentence_of_every_option(explain_help: str) -> None:
    assert "--nb-design N N, rows of A and of B; a power of two for Sobol (default" in explain_help
    assert (
        "--max-forwards N plan adaptive alone: the most images that are scored of one image, gradients at the rate of "
        "prior among them (plan adaptive" in explain_help
    )
    assert "marked as partial; leave it out for no deadline --standard-error" in explain_help


def _entry(told: str, name: str) -> str:
    """What the help says of an option, without the usage above."""
    _, _, entry = told.partition("and on --compat")[2].partition(f"--{name.replace('_', '-')} ")
    return entry.split(" --")[0].partition(" examples:")[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--levels", "many"], "--levels"),
        (["--partition", "hexagons"], "--partition"),
        (["--levels", "99"], "--levels: "),
        (["--nb-design", "3"], "--nb-design: "),
        (["--grid-size", "0"], "--grid-size: "),
        (["--wavelet", "ripple"], "--wavelet: "),
        (["--target", "no such class"], "--target: "),
        (["--target", "1000"], "--target: "),
        (["--model", "nobody"], "--model: "),
        (["--models", "absent.yaml"], "absent.yaml"),
        (["--dpi", "5"], "--dpi: "),
        (
            ["-o", "missing/out.png"],
            "-o/--output: cannot write missing/out.png: there is no directory missing",
        ),
        (["-o", "out.jpg"], "-o/--output: "),
        (
            ["--sufficient-image", "out.png"],
            "--sufficient-image: goes with --kind sufficient-image or robustness",
        ),
        (["--kind", "painting"], "--kind"),
        (["--kind", "compare"], "--other: other is required"),
        (["--kind", "fam", "--partition", "levels"], "--partition: "),
        (["--kind", "compare", "--other", "absent.png"], "--other: cannot read absent.png"),
        (
            ["--target", "tabby", "--target", "lynx", "-o", "-"],
            "-o/--output: standard output takes one picture",
        ),
        (["--target", "tabby", "--target", "lynx", "--other", "b.png"], "--other: goes with one IMAGE"),
        (["-", "-"], "IMAGE: only one image can come from standard input"),
        (["--json", "."], "--json: cannot write .: it is a directory"),
        (["--json", "-", "-o", "-"], "-o/--output: "),
        (["--json", "same.png", "-o", "./same.png"], "--json: "),
    ],
)
def test_a_wrong_option_is_named(
    failing: Failing,
    photograph: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in failing("explain", photograph, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("absent.png", "IMAGE: cannot read absent.png: No such file or directory"),
        (".", "IMAGE: . is a directory: give its files, such as *.png"),
        ("photographs", "IMAGE: photographs is a directory: give its files, such as photographs/*.png"),
        ("words.png/deeper", "IMAGE: cannot read words.png/deeper: Not a directory"),
        ("words.png", "image"),
        ("empty.png", "image"),
    ],
)
def test_an_image_that_cannot_be_used_is_told(
    failing: Failing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.png").write_text("not an image")
    Path("empty.png").touch()
    Path("photographs").mkdir()
    assert told in failing("explain", image, *QUICK)


def test_the_image_of_a_batch_that_cannot_be_used_is_named(
    failing: Failing, photograph: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.png"
    words.write_text("not an image")
    told = failing("explain", photograph, words, *QUICK)
    assert told.startswith(f"wavescope: error: {words}: the image is in none of the formats")
    assert "images[" not in told
    absent = tmp_path / "absent.png"
    assert f"error: cannot read {absent}: No such file" in failing("explain", photograph, absent, *QUICK)


def test_a_numbered_picture_writes_over_no_image(failing: Failing, photograph: Path, tmp_path: Path) -> None:
    copy = tmp_path / "map-2.png"
    copy.write_bytes(photograph.read_bytes())
    assert "is the image itself" in failing("explain", photograph, copy, "-o", tmp_path / "map.png")
    assert copy.read_bytes() == photograph.read_bytes()


def test_the_image_is_never_written_over(failing: Failing, photograph: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(photograph.read_bytes())
    assert "is the image itself" in failing("explain", copy, "-o", tmp_path / "." / "copy.png")
    assert copy.read_bytes() == photograph.read_bytes()


def test_the_figure_is_a_png(explained: Path) -> None:
    with Image.open(explained / "out.png") as figure:
        figure.load()
        assert (figure.format, figure.width) == ("PNG", 1200)


def test_the_json_is_the_reply_of_the_service(explained: Path) -> None:
    reply = json.loads((explained / "out.json").read_text())
    assert reply["model"] == "efficientnet-lite0"
    assert reply["forwards"] == 2 * (16 + 2)
    assert len(reply["indices"]["total"]) == 16
    assert "cat" in reply["target"]["label"] or reply["target"]["label"] in ("tabby", "lynx")
    defaults = {name: field.default for name, field in REQUEST.items()}
    given = {"grid_size": 4, "nb_design": 2, "seed": 3, "score": "logit"}  # named, where none was asked for
    settled = {"target": reply["target"]["index"], "against": reply["contrast"]["against"]["index"]}
    assert reply["parameters"] == defaults | given | settled


KIND_WORDS: dict[str, tuple[list[str], str]] = {
    "fam": (["--grid-size", "4"], "cycles per px"),
    "sobol": (["--grid-size", "3", "--baseline", "mean"], "Most important places"),
    "sufficient-image": (["--grid-size", "3"], "Rebuilt from the top factors"),
    "profile": (["--levels", "1"], "Importance per sub-band"),
    "compare": (["--grid-size", "2", "--other", "{other}"], "place shift"),
    "robustness": (["--grid-size", "2"], "gaussian noise"),
    "zoom": (["--grid-size", "2", "--levels", "1"], "Share of the new scale"),
    "wam": (["--grid-size", "4", "--samples", "2"], "factor attribution"),
}


def test_every_kind_but_the_default_is_run_here() -> None:
    assert set(KIND_WORDS) == set(KINDS) - {"wcam"}


@pytest.mark.parametrize("kind", KIND_WORDS)
def test_every_kind_is_explained_drawn_and_encoded(
    photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    given, words = KIND_WORDS[kind]
    other = tmp_path / "other.png"
    Image.fromarray(chelsea()[:, ::-1]).save(other)
    options = [option.format(other=other) for option in given]
    outputs = [
        "-o",
        str(tmp_path / "a.png"),
        "--json",
        str(tmp_path / "a.json"),
        "--npz",
        str(tmp_path / "a.npz"),
    ]
    asked = ["explain", str(photograph), "--kind", kind, "--nb-design", "2", *options, *outputs]
    assert main(asked) == 0
    assert words in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "a.json").read_text())["kind"] == kind
    with Image.open(tmp_path / "a.png") as figure:
        assert figure.width == 1200
    with np.load(tmp_path / "a.npz") as arrays:
        assert ("wam" if KINDS[kind].gradients else "total") in arrays


def test_every_image_is_explained_for_every_target_into_numbered_figures_and_one_document(
    photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = ["-o", str(tmp_path / "map.png"), "--json", str(tmp_path / "all.json")]
    asked = [str(photograph), str(photograph), "--target", "tabby", "--target", "lynx", "--dpi", "30"]
    assert main(["explain", *asked, *QUICK, *outputs]) == 0
    explanations = json.loads((tmp_path / "all.json").read_text())["explanations"]
    assert [each["target"]["label"] for each in explanations] == ["tabby", "lynx"] * 2
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"map-{n}.png" for n in (1, 2, 3, 4)]
    told = capsys.readouterr().out
    assert told.count(f"{photograph}:") == 4
    assert told.count("“lynx” (class") == 2


def test_the_sufficient_image_is_written_where_there_is_one(
    photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--kind", "sufficient-image", "--partition", "levels", "--levels", "1", "--nb-design", "2"]
    for name, target in (("found", []), ("none", ["--target", "toilet tissue"])):
        words = [*quick, *target, "--sufficient-image", str(tmp_path / f"{name}.png")]
        assert main(["explain", str(photograph), *words]) == 0
    told = " ".join(capsys.readouterr().out.split())
    with Image.open(tmp_path / "found.png") as image:
        assert image.size == (224, 224)
    assert not (tmp_path / "none.png").exists()
    assert "not written: " in told
    assert "there is no depth" in told


def test_the_npz_holds_the_arrays_of_the_json(explained: Path) -> None:
    reply = json.loads((explained / "out.json").read_text())
    with np.load(explained / "out.npz") as arrays:
        assert arrays["wcam"].shape == tuple(reply["maps"]["wcam"]["shape"])
        np.testing.assert_array_equal(arrays["total"], reply["indices"]["total"])


def test_json_on_stdout_is_nothing_but_json(photograph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(photograph), *QUICK, "--json", "-"]) == 0
    told = capsys.readouterr()
    reply = json.loads(told.out)
    assert reply["outcome"] == "explained"
    for level in reply["levels"]:
        assert f"{100 * level['share']:.1f} %" in told.err


def test_the_terminal_shows_scales_prediction_and_what_was_written(
    photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a name with [brackets].json"
    assert main(["explain", str(photograph), *QUICK, "--target", "otter", "--json", str(out)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    reply = json.loads(out.read_text())
    assert "“otter” (class 360)" in told.out
    assert reply["target"]["index"] == 360
    for words in ("> 8 px", "4-8 px", "2-4 px", "1-2 px", "horizontal", "36 forwards", f"wrote {out}"):
        assert words in told.out
    for prediction in reply["prediction"]:
        assert prediction["label"] in told.out
    for warning in reply["warnings"]:
        assert warning.split()[0] in told.out


def test_an_image_comes_by_standard_input(
    photograph: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photograph.read_bytes())))
    assert main(["explain", "-", *QUICK, "--seed", "3", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "explained"


def test_a_constant_score_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (224, 224)).save(tmp_path / "black.png")  # no coefficient to perturb
    outputs = ["-o", str(tmp_path / "out.png"), "--json", str(tmp_path / "out.json")]
    assert main(["explain", str(tmp_path / "black.png"), *QUICK, *outputs]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["outcome"] == "constant_score"
    assert "did not vary" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "out.png").stat().st_size > 0


def test_an_interrupt_is_told_by_the_status_and_not_by_a_traceback(
    photograph: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wavescope.api.explain", interrupted)
    assert main(["explain", str(photograph)]) == 130
    assert capsys.readouterr().err == "wavescope: interrupted\n"


def test_models_lists_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    for words in ("efficientnet-lite0", "embedded:efficientnet-lite0", "ONNX Runtime", "float32"):
        assert words in told


def test_models_lists_a_registry_of_one_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = tmp_path / "models.yaml"
    registry.write_text(
        "models:\n"
        "  - {name: r50, source: 'torchvision:resnet50', precision: bfloat16, min_replicas: 1, max_replicas: 3}\n"
    )
    assert main(["models", "--models", str(registry)]) == 0
    told = capsys.readouterr().out
    for words in ("r50", "torchvision:resnet50", "torch", "bfloat16", "1-3"):
        assert words in told


def test_serve_hands_its_options_and_the_registry_on(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[Any, Any]] = []
    monkeypatch.setattr("wavescope.serving.command.run.serve", lambda *given: served.append(given))
    words = ["--host", "0.0.0.0", "--port", "8123", "--grpc-port", "0", "--no-auth", "--log-level", "debug"]
    assert main(["serve", *words]) == 0
    [(settings, models_file)] = served
    assert (settings.host, settings.port, settings.grpc_port) == ("0.0.0.0", 8123, 0)
    assert (settings.no_auth, settings.log_level) == (True, "debug")
    assert models_file is None


def test_the_help_of_serve_states_the_defaults_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    from wavescope.settings import Settings

    with pytest.raises(SystemExit, match="0"):
        main(["serve", "--help"])
    told = " ".join(capsys.readouterr().out.split()).partition("examples:")[0]
    for name in ("host", "port", "grpc_port", "log_level"):
        _, _, entry = told.rpartition(f" --{name.replace('_', '-')} ")
        assert f"(default: {Settings.model_fields[name].default})" in entry.split(" --")[0]


def test_a_wrong_setting_in_the_environment_is_told(
    failing: Failing, photograph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVESCOPE_MAX_PIXELS", "many")
    assert "WAVESCOPE_MAX_PIXELS" in failing("explain", photograph, *QUICK)


def test_explaining_needs_neither_ray_nor_torch_nor_a_web_server(photograph: Path) -> None:
    script = (
        "import sys; from wavescope.cli import main; status = main(sys.argv[1:]);"
        "print(*{'ray', 'torch', 'fastapi', 'grpc'} & set(sys.modules)); sys.exit(status)"
    )
    words = ["explain", str(photograph), *QUICK]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What ``wavescope serve`` would have served."""
    served: list[tuple[Any, ...]] = []
    monkeypatch.setattr("wavescope.serving.command.run.serve", lambda *given: served.append(given))
    return served


def test_serve_takes_keys_store_and_remote_hosts(serving: list[tuple[Any, ...]], tmp_path: Path) -> None:
    keys, store = tmp_path / "keys.yaml", "redis://127.0.0.1:6379/0"
    words = ["--api-keys", str(keys), "--store", store, "--remote-hosts", "a.example, *.b.example:81"]
    assert main(["serve", *words]) == 0
    [(settings, _)] = serving
    assert (settings.api_keys_file, settings.store_url) == (keys, store)
    assert settings.remote_hosts == ("a.example", "*.b.example:81")


@pytest.mark.parametrize(
    ("words", "source", "host"),
    [
        ([], "kserve-v1:http://birds-predictor/v1/models/birds:predict", "birds-predictor:80"),
        (["--predictor_protocol", "v2"], "oip:http://birds-predictor/v2/models/birds", "birds-predictor:80"),
        (
            ["--predictor_protocol", "grpc-v2"],
            "oip:grpc://birds-predictor:9000/birds",
            "birds-predictor:9000",
        ),
        (
            ["--predictor-protocol", "v2", "--predictor_use_ssl", "True"],
            "oip:https://birds-predictor/v2/models/birds",
            "birds-predictor:443",
        ),
    ],
)
def test_serve_starts_as_kserve_starts_an_explainer(
    serving: list[tuple[Any, ...]], words: list[str], source: str, host: str
) -> None:
    ours = [
        "--model_name",
        "birds",
        "--predictor_host",
        "birds-predictor",
        "--http_port",
        "8080",
        "--grpc_port",
        "0",
    ]
    assert main(["serve", *ours, *words, "--remote-hosts", "a.example"]) == 0
    [(settings, models_file, (spec,))] = serving
    assert (settings.port, settings.grpc_port) == (8080, 0)
    assert settings.remote_hosts == ("a.example", host)
    assert (spec.name, spec.source, spec.outputs, models_file) == ("birds", source, "logits", None)
    assert spec.preprocessing is not None


def test_an_entry_of_the_registry_tells_what_the_predictor_does_not(
    serving: list[tuple[Any, ...]], tmp_path: Path, failing: Failing
) -> None:
    registry = tmp_path / "models.yaml"
    registry.write_text(
        "models:\n"
        "  - name: birds\n"
        "    source: oip:http://elsewhere/v2/models/birds\n"
        "    outputs: probabilities\n"
        "    labels: [wren, robin]\n"
        "    preprocessing: {size: 96}\n"
    )
    words = ["--predictor-host", "birds-predictor:8080", "--models", registry]
    assert main(["serve", "--model-name", "birds", *map(str, words)]) == 0
    [(_, _, (spec,))] = serving
    assert spec.source == "kserve-v1:http://birds-predictor:8080/v1/models/birds:predict"
    assert (spec.outputs, spec.labels, spec.preprocessing.size) == (
        "probabilities",
        ("wren", "robin"),
        (96, 96),
    )
    assert "--model-name" in failing("serve", "--model-name", "cats", *words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--predictor-host", "birds"], "--model-name: is needed too"),
        (["--model-name", "birds"], "--predictor-host: is needed too"),
        (
            ["--model-name", "birds", "--predictor-host", "user:secret@birds"],
            "--predictor-host: a URL holds no user",
        ),
        (["--workers", "4"], "--workers"),
        (["--predictor-protocol", "v3"], "invalid choice"),
    ],
)
def test_an_explainer_that_cannot_be_is_told(failing: Failing, words: list[str], told: str) -> None:
    line = failing("serve", *words)
    assert told in line
    assert "secret" not in line


def test_other_hosts_are_served_with_keys_or_when_said_so(failing: Failing, tmp_path: Path) -> None:
    from wavescope.serving.command.address import check_address
    from wavescope.settings import Settings

    assert "--api-keys" in failing("serve", "--host", "0.0.0.0", "--port", free_port(), "--grpc-port", "0")
    for allowed in ({"api_keys_file": tmp_path / "keys.yaml"}, {"no_auth": True}):
        check_address(Settings(host="0.0.0.0", port=free_port(), grpc_port=0, **allowed))


@pytest.mark.parametrize("text", [None, "keys: [", "keys: [{name: alice, sha256: short}]"])
def test_the_service_does_not_start_with_keys_that_cannot_be_used(
    failing: Failing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    monkeypatch.setattr("wavescope.serving.command.run.cluster", None)  # nothing is started
    keys = tmp_path / "keys.yaml"
    if text is not None:
        keys.write_text(text)
    line = failing("serve", "--api-keys", keys, "--port", free_port(), "--grpc-port", "0")
    assert "--api-keys: API keys file: " in line


def test_a_new_key_opens_the_door_of_its_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from wavescope.auth import make_authenticator
    from wavescope.settings import Settings

    keys = tmp_path / "keys.yaml"
    assert main(["keys", "new", "alice"]) == 0
    key, _, told = capsys.readouterr().out.partition("\n")
    entry = told[told.index("  - name") :]
    assert key not in told
    keys.write_text(f"keys:\n{entry}    max_jobs: 5\n")
    assert make_authenticator(Settings(api_keys_file=keys)).caller(key) == "alice"
    assert main(["keys", "list", "--api-keys", str(keys)]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in ("alice", "interactive", "5"))
    assert not any(word in listed for word in entry.split('"')[1:2])


@pytest.mark.parametrize("words", [["new", "two words"], ["list"], ["list", "--api-keys", "/nonexistent"]])
def test_keys_that_cannot_be_are_told(failing: Failing, words: list[str]) -> None:
    assert failing("keys", *words).startswith("wavescope: error: ")
