"""Reads --monitoring_config_file: tensorflow.serving.MonitoringConfig in protobuf's text format.

The published stubs leave this message out, so it is described here, as in the official config/monitoring_config.proto.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from headrace_serving.failures import Reason, StartError

DEFAULT_PATH = "/monitoring/prometheus/metrics"

_HINT = 'It should read: prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }'


def metrics_path(file: Path) -> str | None:
    """Where the metrics are to be served; None when they are not to be. Raises StartError(BadConfig)."""
    config = _config_type()()
    try:
        text_format.Parse(file.read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(Reason.BAD_CONFIG, f"{file} cannot be read: {error}.", _HINT) from error
    except text_format.ParseError as error:
        raise StartError(Reason.BAD_CONFIG, f"{file} is no MonitoringConfig: {error}.", _HINT) from error
    prometheus = config.prometheus_config
    if not prometheus.enable:
        return None
    path = str(prometheus.path or DEFAULT_PATH)
    if not path.startswith("/"):
        raise StartError(Reason.BAD_CONFIG, f"The metrics' path {path!r} in {file} does not begin with a slash.", _HINT)
    return path


def _config_type() -> type:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="headrace/monitoring_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    prometheus.field.add(name="path", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.serving.PrometheusConfig",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message: type = message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.MonitoringConfig"))
    return message
