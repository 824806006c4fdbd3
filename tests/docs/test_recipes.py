"""Recipes of CONTRIBUTING.md list the files of a change: an existing instance is named in exactly these."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SEARCHED = (
    "service", "clients", "docs", "tests", "tools", "deploy", "helm", "requirements", "README.md", "pyproject.toml",
)  # fmt: skip
ENDINGS = {".py", ".md", ".proto", ".yaml", ".json", ".toml", ".in"}
# Generated of the others, by the commands that the page names; and this file.
GENERATED = re.compile(
    r"docs/reference/.*|.*_pb2(_grpc)?\.pyi?|clients/python/src/wavescope_client/_types\.py"
)
BY_THE_WAY = "uses it in a test about something else"


@dataclass(frozen=True)
class Recipe:
    """A recipe and an instance of what it makes.

    Attributes:
        name: of the instance, for ``NAME`` in a path.
        pattern: of the instance in a text.
        most: files at most.
        unnamed: files of the recipe in which the name does not occur, with the reason.
        others: files with the name that are not in the recipe, with the reason.
    """

    name: str
    pattern: str
    most: int
    unnamed: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


RECIPES = {
    "A field of a request": Recipe(
        "value_policy",
        r"\bvalue_policy\b",
        15,
        unnamed={"service/src/wavescope/core/rendering/renderer.py": "there it is the argument `policy`"},
        others={
            "tools/pictures.py": "a picture of its values",
            "service/src/wavescope/engine/kinds/wam.py": "a kind that has one value of it alone",
            "tests/engine/test_wam.py": "a kind that has one value of it alone",
            "tests/figures/samples.py": "a kind that has one value of it alone",
            "tests/ingress/test_request_schema.py": "an example of a wrong value",
            "tests/figures/test_figure_parts.py": "an example of a caption",
            "tests/engine/test_reference_compat.py": "its default is another under compat",
            "tests/gpu/test_render_cuda.py": "the same renders on a GPU",
            "tests/engine/test_explain.py": BY_THE_WAY,
            "tests/engine/test_adaptive.py": BY_THE_WAY,
            "tests/engine/test_gradient_prior.py": BY_THE_WAY,
            "tests/engine/test_kinds.py": BY_THE_WAY,
            "tests/engine/test_known_answers.py": BY_THE_WAY,
        },
    ),
    "A kind of explanation": Recipe(
        "zoom",
        r"""["'`]zoom["'`](?!`? times|`: )|\bZoom\b|kinds[./]zoom|kind[= ]zoom|robustness, zoom[,)]|compare, zoom """,
        25,
        others={
            "service/src/wavescope/engine/attribution.py": "a docstring about second images",
            "service/src/wavescope/engine/local.py": "an error: it needs the original image",
            "service/src/wavescope/engine/run.py": "a docstring: it needs the original image",
            "service/src/wavescope/ingress/schemas/request.py": "a default that depends on kind and plan",
            "tests/engine/test_adaptive.py": "kinds with two images",
            "tests/engine/test_deadline.py": "kinds with two images",
            "tests/engine/test_kind_registry.py": "an example of a comparison that is refused",
            "tests/figures/test_draw_figure.py": "sections that a constant score has not",
            "tests/figures/test_figure_parts.py": "kinds whose table has no bars",
            "tests/ingress/test_batch_schema.py": "an example of a wrong second image",
            "tests/ingress/test_request_schema.py": "an example of a default and of an error",
            "tests/models/test_odd_models.py": BY_THE_WAY,
            "tests/serving/test_planning.py": "it is charged for two images",
        },
    ),
    "An estimator of total indices": Recipe(
        "glen",
        r"\b[Gg]len\b|slow_glen",
        15,
        others={
            "service/src/wavescope/core/sobol/bootstrap.py": "a docstring about estimators that are never negative",
            "tests/core/test_diagnostics.py": BY_THE_WAY,
            "tests/engine/test_partials.py": BY_THE_WAY,
            "tests/engine/test_plan.py": "it needs two rows",
        },
    ),
    "A sampler of designs": Recipe(
        "halton",
        r"\b[Hh]alton\b",
        15,
        others={
            "tests/core/test_estimators.py": BY_THE_WAY,
            "tests/core/test_ranks.py": "an oracle by SciPy",
            "tests/engine/test_adaptive.py": "samplers with nested designs",
            "tests/engine/test_partials.py": "samplers with nested designs",
        },
    ),
    "A metric": Recipe("planning_waiting", r"(?i)\b(wavescope_)?planning_waiting\b", 6),
    "A backend of models": Recipe(
        "torchscript",
        r"\btorchscript\b",
        18,
        unnamed={
            "service/src/wavescope/models/torch/programs.py": "the record names the loader, not the loader the record",
            "pyproject.toml": "its library is torch, which others use",
            "service/pyproject.toml": "its extra is torch",
            "requirements/cpu.in": "its extra is torch",
        },
        others={"deploy/models.yaml": "a comment beside torch-export"},
    ),
    "An RPC": Recipe(
        "CancelJob",
        r"\bCancelJob\b",
        10,
        unnamed={
            "service/src/wavescope/ingress/plane.py": "its method is `cancel`",
            "service/src/wavescope/serving/plane.py": "its method is `cancel`",
            "service/src/wavescope/ingress/grpc/converters.py": "it shares those of jobs",
            "tests/ingress/fakes.py": "its method is `cancel`",
        },
    ),
    "An endpoint": Recipe(
        "explanations:estimate",
        r"explanations:estimate|\bEstimateReply\b|\bESTIMATES?(_\w+)?\b",
        20,
        unnamed={
            "service/src/wavescope/ingress/plane.py": "its method is `estimate`",
            "service/src/wavescope/serving/plane.py": "its method is `estimate`",
            "service/src/wavescope/serving/aggregator_client.py": "its method is `estimate`",
            "clients/python/src/wavescope_client/_client.py": "its method is `estimate`",
            "clients/python/src/wavescope_client/_async_client.py": "its method is `estimate`",
            "tests/ingress/fakes.py": "its method is `estimate`",
        },
        others={
            "docs/jobs.md": "estimates and admission",
            "service/src/wavescope/ingress/openapi/description.md": "beside explanations",
            "tools/fuzz/requests.py": "every endpoint gets bad input",
            "tests/cluster/test_expensive_images.py": "every endpoint pays for images",
            "tests/cluster/test_kinds.py": "gradients are charged as forwards",
            "tests/cluster/test_models_at_run_time.py": "every endpoint knows a new model",
            "tests/cluster/test_service.py": "every endpoint, on a cluster",
            "tests/serving/test_aggregator_client.py": "its call, without HTTP",
            "tests/ingress/test_duplicate_names.py": "every endpoint refuses a name twice",
        },
    ),
}  # fmt: skip


def files(recipe: Recipe, title: str) -> list[str]:
    section = PAGE[PAGE.index(f"### {title}\n") :].split("\n#")[0]
    return [
        path.replace("NAME", recipe.name) for path in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    ]


@cache
def texts() -> dict[str, str]:
    paths = [
        path
        for name in SEARCHED
        for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
        if path.suffix in ENDINGS and path.is_file() and path != Path(__file__)
    ]
    named = {path.relative_to(ROOT).as_posix(): path for path in paths}
    return {
        name: path.read_text("utf-8")
        for name, path in named.items()
        if not GENERATED.fullmatch(name) and "/.venv/" not in name and "/build/" not in name
    }


def test_every_recipe_of_the_page_is_held():
    section = PAGE[PAGE.index("## Recipes\n") : PAGE.index("## Style\n")]
    assert re.findall(r"^### (.+)$", section, re.MULTILINE) == list(RECIPES)


@pytest.mark.parametrize(("title", "recipe"), RECIPES.items(), ids=list(RECIPES))
def test_files_of_a_recipe_are_there_and_few(title, recipe):
    listed = files(recipe, title)
    assert not [path for path in listed if not (ROOT / path).is_file()]
    assert len(listed) == len(set(listed)) <= recipe.most


@pytest.mark.parametrize(("title", "recipe"), RECIPES.items(), ids=list(RECIPES))
def test_an_instance_is_named_in_the_files_of_its_recipe(title, recipe):
    found = {name for name, text in texts().items() if re.search(recipe.pattern, text)}
    assert found == (set(files(recipe, title)) - set(recipe.unnamed)) | set(recipe.others)
