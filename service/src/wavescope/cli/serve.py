"""``wavescope serve``: the service, on Ray Serve; also as KServe starts the container of a custom explainer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wavescope.cli.options import (
    PREDICTOR,
    PREDICTOR_PROTOCOLS,
    add_api_keys,
    add_models_file,
    build_settings,
    format_option,
)
from wavescope.errors import InvalidRequest

if TYPE_CHECKING:
    from wavescope.cli.options import Commands, Options

_EXAMPLES = """\
examples:
  wavescope serve
      the embedded model on http://127.0.0.1:8000
  wavescope serve --models models.yaml --port 8080
      the models of a registry
  wavescope serve --host 0.0.0.0 --api-keys keys.yaml
      on every interface, for those who have a key
  wavescope serve --host 0.0.0.0 --no-auth --model_name birds --predictor_host birds-predictor:80
      as KServe's explainer of a model that is served elsewhere
"""


def add_serve(commands: Commands) -> None:
    """Add ``wavescope serve`` to the commands."""
    parser = commands.add_parser(
        "serve",
        help="run the service until SIGINT or SIGTERM",
        description="Runs the service (HTTP and gRPC, on Ray Serve) until SIGINT or SIGTERM.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(run=_serve)
    parser.add_argument("--host", help="listen on this address (default: 127.0.0.1)")
    port = parser.add_argument("--port", type=int, help="serve HTTP on this port (default: 8000)")
    _add_kserve_spelling(parser, port, "--http_port")
    parser.add_argument(
        "--root-path", metavar="PATH", help="path prefix of a gateway in front, such as /wavescope"
    )
    grpc_port = parser.add_argument(
        "--grpc-port",
        type=int,
        metavar="PORT",
        help="serve gRPC on this port; 0 turns gRPC off (default: 9000)",
    )
    _add_kserve_spelling(parser, grpc_port, "--grpc_port")
    add_api_keys(parser)
    parser.add_argument("--no-auth", action="store_true", help="serve other hosts without keys")
    parser.add_argument(
        format_option("store_url"),
        dest="store_url",
        metavar="URL",
        help="redis://… or rediss://… that keeps jobs and results (default: a file)",
    )
    parser.add_argument(
        "--remote-hosts",
        metavar="LIST",
        help="hosts that may serve models of the registry, separated by commas",
    )
    levels = ("debug", "info", "warning", "error", "critical")
    parser.add_argument("--log-level", choices=levels, help="least severe message to log (default: info)")
    add_models_file(parser)
    _add_predictor(
        parser.add_argument_group(
            "one model that is served elsewhere",
            "as KServe starts its explainers; a --models entry of this name gives preprocessing, outputs and labels",
        )
    )


def _add_predictor(group: Options) -> None:
    name = group.add_argument(
        "--model-name", metavar="NAME", help="name of the model, at the predictor and in this service"
    )
    host = group.add_argument(
        "--predictor-host",
        metavar="HOST[:PORT]",
        help="host of the predictor, which serves the model; it need not be among --remote-hosts",
    )
    protocol = group.add_argument(
        "--predictor-protocol",
        choices=tuple(PREDICTOR_PROTOCOLS),
        help="protocol of the predictor: KServe v1, or Open Inference Protocol over HTTP or gRPC (default: v1)",
    )
    tls = group.add_argument(
        "--predictor-use-ssl",
        choices=("true", "false"),
        type=str.lower,
        help="whether the predictor is called with TLS (default: false)",
    )
    for action in (name, host, protocol, tls):
        _add_kserve_spelling(group, action, f"--{action.dest}")


def _add_kserve_spelling(parser: Options, action: argparse.Action, name: str) -> None:
    """Add an option under KServe's name for it, without a help text."""
    parser.add_argument(
        name, dest=action.dest, type=action.type or str, choices=action.choices, help=argparse.SUPPRESS
    )


def _serve(arguments: argparse.Namespace) -> None:
    from wavescope.serving.command.run import serve  # here only: nothing else of the command line needs Ray

    given = vars(arguments)
    models_file = given.get("models_file")
    if given.keys().isdisjoint(PREDICTOR):
        serve(build_settings(given), models_file)
        return
    for field in ("model_name", "predictor_host"):
        if not given.get(field):
            raise InvalidRequest(
                "is needed too: a model that is served elsewhere has a name and a host", field=field
            )
    from wavescope.cli.predictor import allow_host, build_predictor_spec

    spec, authority = build_predictor_spec(
        given["model_name"],
        given["predictor_host"],
        protocol=given.get("predictor_protocol", "v1"),
        secure=given.get("predictor_use_ssl") == "true",
        models_file=models_file,
    )
    serve(allow_host(build_settings(given), authority), None, (spec,))
