"""A version in MLflow: which of its files is the model, where it lies, and what is said where there is none."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from headrace.adding.bucket import Bucket
from headrace.adding.errors import CannotAdd
from headrace.adding.registered import Flavor, Registered, flavor_of, origin_of, parse
from headrace.tenancy.sigv4 import AccessKey
from headrace.tracking.client import MlflowClient
from headrace_common.formats import ModelFormat

VERSION = "models:/theirs/3"


def mlmodel(**flavors) -> bytes:
    """As MLflow writes it, with the flavor that each has."""
    return json.dumps({"flavors": {**flavors, "python_function": {"loader_module": "mlflow.x"}}}).encode()


ONNX = mlmodel(onnx={"data": "model.onnx", "onnx_version": "1.23.2"})
SAVED = mlmodel(tensorflow={"model_type": "tf2-module", "saved_model_dir": "tf2model"})


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("models:/theirs/3", Registered("theirs", version="3")),
        ("models:/team-a.theirs@champion", Registered("team-a.theirs", alias="champion")),
        ("models:/Their model/1", Registered("Their model", version="1")),
    ],
)
def test_a_version_is_named_by_its_number_or_by_an_alias(address, asked):
    assert parse(address) == asked


@pytest.mark.parametrize(
    "address",
    ["models:", "models:/", "models:/a", "models:/a/latest", "models:/a/Production", "models:/a/1/b", "models:/a@"],
)
def test_what_says_no_version_is_refused_with_the_form(address):
    with pytest.raises(CannotAdd, match="has to be like models:/NAME/VERSION or models:/NAME@ALIAS"):
        parse(address)


@pytest.mark.parametrize(
    ("content", "flavor"),
    [
        (ONNX, Flavor(ModelFormat.ONNX, "model.onnx")),
        (mlmodel(onnx={"data": "onnx/model.onnx"}), Flavor(ModelFormat.ONNX, "onnx/model.onnx")),
        (SAVED, Flavor(ModelFormat.TENSORFLOW, "tf2model")),
        (mlmodel(tensorflow={"saved_model_dir": "t/"}), Flavor(ModelFormat.TENSORFLOW, "t")),
        (mlmodel(tensorflow={"saved_model_dir": "t"}, onnx={"data": "o"}), Flavor(ModelFormat.ONNX, "o")),
        (b"flavors:\n  onnx:\n    data: model.onnx\nmlflow_version: 3.17.2\n", Flavor(ModelFormat.ONNX, "model.onnx")),
    ],
)
def test_the_model_is_the_file_or_folder_that_a_flavor_of_a_server_names(content, flavor):
    assert flavor_of(VERSION, content) == flavor


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (mlmodel(sklearn={"pickled_model": "model.pkl"}), "its flavors are 'sklearn', and one of onnx, or "),
        (mlmodel(sklearn={"pickled_model": "model.pkl"}), "No pickle is opened here: load it in a TrainingJob of "),
        (mlmodel(xgboost={"data": "model.ubj"}), "its flavors are 'xgboost'"),
        (mlmodel(), "its flavors are python_function alone"),
        (mlmodel(tensorflow={"data": "data", "model_type": "keras"}), "add what model.export(FOLDER) has saved"),
        (mlmodel(onnx={"data": "../../other/model.onnx"}), "names '../../other/model.onnx', which has the part '..'"),
        (mlmodel(onnx={"data": "/etc/model.onnx"}), "names '/etc/model.onnx', which is absolute"),
        (mlmodel(onnx={"data": ["model.onnx"]}), "its flavors are 'onnx', and one of"),
        (mlmodel(onnx={"data": "a\u202eb.onnx"}), r"names 'a\u202eb.onnx', which has a character that cannot be shown"),
        (b"flavors: [onnx]", "its MLmodel has no flavors"),
        (b"onnx", "its MLmodel has no flavors"),
        (b"{", "its MLmodel is not YAML"),
        (b"\xff\xfe\x00", "its MLmodel is not YAML"),
        (b"!!python/object/apply:os.system ['true']", "its MLmodel has no flavors"),
        (b"flavors: !!bool foo", "its MLmodel has no flavors"),
        (b"flavors: !!timestamp foo", "its MLmodel has no flavors"),
        (b"flavors: {[a]: {}}", "its MLmodel is not YAML"),
        (b"flavors: &a {onnx: *a}", "its MLmodel is not YAML"),
        pytest.param(b"[" * 9000, "its MLmodel is not YAML", id="deep"),
        ("\u202e: {".encode(), "its MLmodel is not YAML"),
        (b'flavors: {"\\e[31mred\\e]0;title\\a": {}}', r"its flavors are '\x1b[31mred\x1b]0;title\x07', and"),
        (mlmodel(**{"x" * 900: {}}), f"its flavors are '{'x' * 39}…', and one of"),
        (mlmodel(onnx={"data": "/" + "x" * 9000}), f"names '/{'x' * 78}…', which is absolute"),
        (mlmodel(**{f"f{n}": {} for n in range(9)}), "its flavors are 'f0', 'f1', 'f2', 'f3', 'f4' and 4 more, and"),
    ],
)
def test_what_no_server_reads_is_refused_with_the_reason_on_one_line(content, said):
    with pytest.raises(CannotAdd) as refused:
        flavor_of(VERSION, content)
    assert said in str(refused.value)
    assert str(refused.value).startswith(VERSION)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


def test_numbers_and_dates_are_texts():
    # Python's own readers of these take time by the square of their length.
    content = b"at: 2001-01-01T00:00:00+99:99\nsize: 1" + b":1" * 30_000 + b"\nflavors: {onnx: {data: 1}}"
    assert flavor_of(VERSION, content) == Flavor(ModelFormat.ONNX, "1")


class Servers:
    """An MLflow with version 3 of `theirs`, at which `champion` points, and a store with its files."""

    def __init__(self, uri="s3://other/artifacts/m", files=None, status=200):
        self.uri, self.status = uri, status
        self.files = files or {"artifacts/m/MLmodel": ONNX, "artifacts/m/model.onnx": b"x", "artifacts/m/w.data": b"yy"}
        self.asked = []

    async def __call__(self, request):
        self.asked.append(request.path)
        if request.path.startswith("/api/2.0/mlflow/"):
            return self.of_mlflow(request)
        if self.status != 200:
            return web.Response(text="<Error><Code>AccessDenied</Code></Error>", status=self.status)
        if (prefix := request.query.get("prefix")) is not None:
            found = {key: content for key, content in self.files.items() if key.startswith(prefix)}
            listed = "".join(f"<Contents><Key>{k}</Key><Size>{len(v)}</Size></Contents>" for k, v in found.items())
            return web.Response(text=f"<ListBucketResult>{listed}</ListBucketResult>")
        return web.Response(body=self.files[request.path.removeprefix("/other/")])

    def of_mlflow(self, request):
        call = request.path.removeprefix("/api/2.0/mlflow/")
        if request.query.get("name") != "theirs" or request.query.get("version", "3") != "3":
            return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}, status=404)
        if call == "model-versions/get-download-uri":
            return web.json_response({"artifact_uri": self.uri})
        return web.json_response({"model_version": {"name": "theirs", "version": "3", "source": "models:/m-1"}})


def origin(servers, address=VERSION):
    async def go():
        runner = web.ServerRunner(web.Server(servers))
        await runner.setup()
        await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        async with aiohttp.ClientSession() as session:
            bucket = Bucket(url, "r", "bucket-of-a", AccessKey("i", "s"), session, pause=0.0)
            try:
                return await origin_of(parse(address), MlflowClient(url, "u", "p", session), bucket)
            finally:
                await runner.cleanup()

    return asyncio.run(go())


@pytest.mark.parametrize("address", [VERSION, "models:/theirs@champion"])
def test_the_pod_reads_the_onnx_file_with_what_lies_beside_it(address):
    found = origin(Servers(), address)
    assert (found.uri, found.file, found.format) == ("s3://other/artifacts/m/", "model.onnx", "ONNX")
    assert (found.given, found.size) == (VERSION, len(ONNX) + 3)  # the version, also of an alias


def test_the_pod_reads_no_more_than_the_folder_of_the_model():
    content = mlmodel(onnx={"data": "onnx/model.onnx"})
    files = {"artifacts/m/MLmodel": content, "artifacts/m/onnx/model.onnx": b"x", "artifacts/m/large": b"y" * 100}
    found = origin(Servers(files=files))
    assert (found.uri, found.file, found.size) == ("s3://other/artifacts/m/onnx/", "model.onnx", 1)


def test_of_a_saved_model_the_folder_is_read():
    files = {"artifacts/m/MLmodel": SAVED, "artifacts/m/tf2model/saved_model.pb": b"x", "artifacts/m/env": b"y"}
    found = origin(Servers(files=files))
    assert (found.uri, found.file, found.format) == ("s3://other/artifacts/m/tf2model/", "", "TensorFlow")
    assert found.size == 1


@pytest.mark.parametrize(
    ("servers", "address", "said"),
    [
        (Servers(), "models:/theirs/4", "not found: name one that MLflow's page"),
        (Servers(), "models:/other@champion", "alias champion of model other"),
        (Servers("mlflow-artifacts:/1/m"), VERSION, "lies at mlflow-artifacts:/1/m, where this command reads nothing"),
        (Servers("mlflow-artifacts:/1/m"), VERSION, "`mlflow artifacts download --artifact-uri models:/theirs/3"),
        (
            Servers("gs://b/m"),
            VERSION,
            "name its ONNX file, or the folder of its SavedModel with / behind it, below gs://",
        ),
        (Servers(status=403), VERSION, "AccessDenied: the key of the Secret has to be one that may read it"),
        (Servers(files={"artifacts/m/x": b""}), VERSION, "there is no s3://other/artifacts/m/MLmodel"),
        (
            Servers(files={"artifacts/m/MLmodel": b"x" * 65537}),
            VERSION,
            "s3://other/artifacts/m/MLmodel has 65537 bytes, and at most 65536 are read: name its ONNX file, or "
            "the folder of its SavedModel with / behind it, below s3://other/artifacts/m",
        ),
        (
            Servers("s3://other/a\x1b[31m"),
            VERSION,
            r"lies at 's3://other/a\x1b[31m', which has a character that cannot",
        ),
        (Servers(files={"artifacts/m/MLmodel": ONNX}), VERSION, "there is no s3://other/artifacts/m/model.onnx, which"),
        (Servers(files={"artifacts/m/MLmodel": SAVED}), VERSION, "there is no s3://other/artifacts/m/tf2model/saved_"),
        (Servers("s3://other/"), VERSION, "there is no s3://other/MLmodel"),
    ],
)
def test_what_is_missing_or_may_not_be_read_is_told(servers, address, said):
    with pytest.raises(CannotAdd) as refused:
        origin(servers, address)
    assert said in str(refused.value)
