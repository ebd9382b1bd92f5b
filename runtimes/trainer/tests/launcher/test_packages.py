"""requirements.txt beside the script: real uv against an index on loopback, and what the script then imports."""

import io
import os
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from package_index import PASSWORD, USER, PackageIndex, variables
from trainer_support import TRAINER, free_port, wait_until

from headrace_local.certificates import Authority, Subject
from wheels import wheel

ANY_PROGRAM = {"framework": "Script"}
SAYS_VERSION = "import tiny; print('the script has tiny', tiny.VERSION)"


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    served = PackageIndex()
    yield served
    served.close()


@pytest.fixture
def start(launch, index):
    """A launcher with this requirements.txt, and the index."""

    def start(requirements, script=SAYS_VERSION, *, files=None, config=None, env=None, url=None, **more):
        outage = "1" if config is None else "60"  # with storage: on busy cores its answer may take more than a second
        return launch(
            script,
            files={"requirements.txt": requirements, **(files or {})},
            config={**ANY_PROGRAM, **(config or {})},
            env={**variables(url or index.url), "HEADRACE_OUTAGE_SECONDS": outage, **(env or {})},
            **more,
        )

    return start


@pytest.fixture
def image_for_gpus(tmp_path) -> dict[str, object]:
    """What `start` needs so that the launcher runs where `tensorflow` is, and `tensorflow-cpu` is not."""
    folder = tmp_path / "venv"
    venv.create(folder, symlinks=True, with_pip=False)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "headrace.pth").write_text(str(TRAINER.parent / "common"))
    _, data = wheel("tensorflow", "2.0", code="IS_FOR = 'GPUs'")
    zipfile.ZipFile(io.BytesIO(data)).extractall(packages)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # for uv
    return {"before": ("sh", "-c", 'shift; exec "$0" "$@"', str(folder / "bin/python")), "env": {"PATH": path}}


def storage(s3, bucket, tracking=None):
    store = {"storage": {"endpoint": s3.endpoint, "region": "us-east-1"}}
    kept = {"checkpoint": {"uri": f"s3://{bucket}/checkpoints", "intervalSeconds": 300, "keep": 3}}
    return store | kept | ({} if tracking is None else {"tracking": tracking})


def everything_said(launched) -> str:
    return launched.log + str(launched.record)


# --- what the script finds ---


def test_what_the_image_lacks_is_installed_with_what_it_needs(start, index):
    index.add("tiny", "1.0")
    index.add("needs_tiny", "1.0", "tiny", "six")

    launched = start("needs-tiny\n")

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log
    assert sorted(path.name for path in (launched.work / ".headrace/packages").glob("*.py")) == [
        "needs_tiny.py",
        "tiny.py",
    ]


def test_the_programs_of_a_package_are_found(start, index):
    index.add("tiny", "1.0")

    launched = start("tiny\n", "import subprocess; subprocess.run(['say-tiny'], check=True)")

    assert launched.wait() == 0
    assert "tiny says 1.0" in launched.log


def test_what_the_image_has_stays_although_there_is_a_newer_version(start, index):
    index.add("tiny", "1.0", "six")
    for version in (metadata.version("six"), "99.0"):
        index.add("six", version)

    launched = start("tiny\n", "import six; print('six', six.__version__)")

    assert launched.wait() == 0
    assert f"six {metadata.version('six')}" in launched.log


def test_what_the_image_has_need_not_be_in_the_index(start, index):
    index.add("tiny", "1.0", "six")

    launched = start("tiny\nsix\n")

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log


def test_who_asks_for_tensorflow_has_it_by_another_name(start, index):
    there = metadata.version("tensorflow-cpu")
    for version in (there, "99.0"):
        index.add("tensorflow", version)
    index.add("tiny", "1.0", "tensorflow>=2")

    launched = start("tensorflow\ntiny\n")

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log
    assert not (launched.work / ".headrace/packages/tensorflow.py").exists()


def test_who_asks_for_another_tensorflow_gets_that_one(start, index):
    for version in (metadata.version("tensorflow-cpu"), "99.0"):
        index.add("tensorflow", version)

    launched = start("tensorflow==99.0\n", "import tensorflow; print('tensorflow', tensorflow.VERSION)")

    assert launched.wait() == 0
    assert "tensorflow 99.0" in launched.log


def test_who_asks_for_tensorflow_cpu_keeps_the_image_s_for_gpus(start, index, image_for_gpus):
    for version in ("2.0", "99.0"):
        index.add("tensorflow_cpu", version)
    index.add("tiny", "1.0", "tensorflow-cpu>=2")

    launched = start(
        "tensorflow-cpu\ntiny\n", f"{SAYS_VERSION}; import tensorflow; print(tensorflow.IS_FOR)", **image_for_gpus
    )

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log
    assert "GPUs" in launched.log
    assert not (launched.work / ".headrace/packages/tensorflow_cpu.py").exists()


def test_who_asks_for_another_tensorflow_cpu_gets_that_one(start, index, image_for_gpus):
    for version in ("2.0", "99.0"):
        index.add("tensorflow_cpu", version)

    launched = start(
        "tensorflow-cpu==99.0\n", "import tensorflow_cpu as t; print('for CPUs', t.VERSION)", **image_for_gpus
    )

    assert launched.wait() == 0
    assert "for CPUs 99.0" in launched.log


def test_another_version_than_the_images_is_what_the_script_gets_and_the_launcher_does_not(start, index):
    index.add("boto3", "99.0")

    launched = start("boto3==99.0\n", "import boto3; print('boto3', boto3.VERSION)")

    assert launched.wait() == 0
    assert "boto3 99.0" in launched.log


def test_an_image_that_has_everything_needs_no_index(start):
    launched = start("six>=1\njmespath\n", "print('trained')", url=f"http://127.0.0.1:{free_port()}/simple")

    assert launched.wait() == 0
    assert "the image has it all" in launched.log
    assert not (launched.work / ".headrace/packages").exists()


def test_without_the_file_nothing_is_asked_for(launch, index):
    launched = launch("print('trained')", config=ANY_PROGRAM, env=variables(index.url))

    assert launched.wait() == 0
    assert index.asked == []


def test_a_wheel_beside_the_script(start, index):
    file, data = wheel("tiny", "3.0")

    launched = start(f"./{file}\n", files={file: data})

    assert launched.wait() == 0
    assert "the script has tiny 3.0" in launched.log


def test_a_folder_of_wheels_beside_the_script(start):
    file, data = wheel("tiny", "3.0")

    launched = start("--no-index\n--find-links .\ntiny\n", files={file: data})

    assert launched.wait() == 0
    assert "the script has tiny 3.0" in launched.log


def test_the_file_names_its_own_index_and_that_one_is_taken(start, index):
    index.add("tiny", "1.0")

    launched = start(f"--index-url {index.url}\ntiny\n", url=f"http://127.0.0.1:{free_port()}/simple")

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log


def test_a_further_index_in_an_included_file(start, index):
    other = PackageIndex()
    other.add("tiny", "1.0")

    files = {"more.txt": f"--extra-index-url {other.url}\ntiny\n"}
    launched = start("-r more.txt\n", files=files)

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log
    other.close()


# --- the same versions in every attempt and every worker ---


def test_a_later_attempt_has_the_versions_of_the_first_although_there_are_newer_ones(start, index, s3):
    index.add("tiny", "1.0")
    config = storage(s3, s3.bucket())
    assert start("tiny\n", config=config).wait() == 0
    index.add("tiny", "2.0")

    second = start("tiny\n", config=config, attempt=2)
    third = start("tiny\n", config=config, attempt=3)

    assert (second.wait(), third.wait()) == (0, 0)
    assert "the script has tiny 1.0" in second.log
    assert "the script has tiny 1.0" in third.log


def copy_of_packages(s3, bucket) -> str:
    [key] = [key for key in s3.keys(bucket) if key.endswith(".tar.gz")]
    return key


def test_a_later_attempt_needs_no_index(start, index, s3):
    index.add("tiny", "1.0")
    config = storage(s3, s3.bucket())
    assert start("tiny\n", config=config).wait() == 0
    nobody = f"http://127.0.0.1:{free_port()}/simple"

    second = start("tiny\n", "import subprocess; subprocess.run(['say-tiny'])", config=config, url=nobody, attempt=2)

    assert second.wait() == 0
    assert "the packages are those that attempt 1 had installed" in second.log
    assert "tiny says 1.0" in second.log


DAMAGES = {
    "empty": lambda data: b"",
    "no archive": lambda data: b"no archive",
    "cut off": lambda data: data[: len(data) // 2],
    "another checksum": lambda data: data[:-8] + bytes(8),
    "a file outside": lambda data: archive_with("../outside.py"),
}


def archive_with(name: str) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return written.getvalue()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_copy_that_is_damaged_is_told_and_passed_over(start, index, s3, damage):
    index.add("tiny", "1.0")
    bucket = s3.bucket()
    config = storage(s3, bucket)
    assert start("tiny\n", config=config).wait() == 0
    key = copy_of_packages(s3, bucket)
    s3.put(bucket, key, DAMAGES[damage](s3.get(bucket, key)))

    second = start("tiny\n", config=config, attempt=2)

    assert second.wait() == 0
    assert "the copy of the packages cannot be used" in second.log
    assert "the script has tiny 1.0" in second.log


def test_a_wheel_that_is_another_than_the_first_attempts_is_refused(start, index, s3):
    index.add("tiny", "1.0")
    bucket = s3.bucket()
    config = storage(s3, bucket)
    assert start("tiny\n", config=config).wait() == 0
    index.add("tiny", "1.0", "six")  # uploaded anew
    s3.delete(bucket, copy_of_packages(s3, bucket))

    second = start("tiny\n", config=config, attempt=2)

    assert second.wait() == 2
    assert "Hash mismatch" in second.record["message"]


def test_the_other_workers_install_what_the_chief_has_resolved(start, index, s3):
    index.add("tiny", "1.0")
    names = {"workers": {"count": 2, "addresses": ["127.0.0.1", "127.0.0.1"]}}
    config = storage(s3, s3.bucket()) | names

    chief = start("tiny\n", config=config)
    other = start("tiny\n", config=config, env={"JOB_COMPLETION_INDEX": "1"})
    assert chief.wait() == 0
    index.add("tiny", "2.0")
    late = start("tiny\n", config=config, env={"JOB_COMPLETION_INDEX": "1"})

    assert (other.wait(), late.wait()) == (0, 0)
    assert "the script has tiny 1.0" in other.log
    assert "the script has tiny 1.0" in late.log


def test_the_run_says_what_the_script_had(start, index, s3, mlflow):
    index.add("boto3", "99.0")
    bucket = s3.bucket()
    tracking = mlflow.experiment("packages", f"s3://{bucket}/mlflow")

    launched = start("boto3==99.0\n", "print('trained')", config=storage(s3, bucket, tracking))

    assert launched.wait() == 0
    [key] = [key for key in s3.keys(bucket) if key.endswith("environment.txt")]
    lines = s3.get(bucket, key).decode().splitlines()
    assert [line for line in lines if line.startswith("boto3==")] == ["boto3==99.0"]


# --- what goes wrong ---

REFUSED = {
    "no such version": ("tiny==9\n", "there is no version of tiny==9"),
    "no such package": ("no-such-package\n", "no-such-package was not found"),
    "a conflict": ("tiny==1.0\nneeds-new-tiny\n", "tiny"),
    "malformed": ("tiny ==== ??\n", "Couldn't parse requirement in `requirements.txt`"),
    "a file that is not there": ("./gone-1.0-py3-none-any.whl\n", "gone-1.0-py3-none-any.whl"),
    "a package that cannot be built": (".\n", "there is no compiler"),
}
UNBUILDABLE = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "backend.py": "raise SystemExit('there is no compiler')\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_resolver_refuses_ends_the_job_in_its_words(start, index, case):
    requirements, words = REFUSED[case]
    index.add("tiny", "1.0")
    index.add("needs_new_tiny", "1.0", "tiny>2")

    launched = start(requirements, files=UNBUILDABLE)

    assert launched.wait() == 2
    assert (launched.record["class"], launched.record["reason"]) == ("Config", "PackagesNotInstalled")
    assert words in launched.record["message"]
    assert "requirements.txt" in launched.record["hint"]
    assert "the script has" not in launched.log


def test_a_module_that_nobody_has_says_where_to_name_it(launch):
    launched = launch("import no_such_package", config=ANY_PROGRAM)

    assert launched.wait() == 2
    assert launched.record["reason"] == "PackageMissing"
    assert "requirements.txt" in launched.record["hint"]


def test_an_index_that_is_away_is_no_fault_of_the_file(start):
    launched = start("tiny\n", url=f"http://127.0.0.1:{free_port()}/simple")

    assert launched.wait() == 4
    assert (launched.record["class"], launched.record["reason"]) == ("Storage", "PackageIndexUnavailable")
    assert "Connection refused" in launched.record["message"]
    assert "trainer.packageIndex.url" in launched.record["hint"]


def test_an_index_that_comes_back_within_the_patience_is_waited_for(start, index):
    index.add("tiny", "1.0")
    index.status = 503

    launched = start("tiny\n", env={"HEADRACE_OUTAGE_SECONDS": "60"})
    wait_until(lambda: "trying again" in launched.log, 20, "a first try")
    index.status = 200

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log


def test_an_index_that_stays_at_5xx_ends_the_attempt(start, index):
    index.status = 503

    launched = start("tiny\n")

    assert launched.wait() == 4
    assert launched.record["reason"] == "PackageIndexUnavailable"
    assert "503" in launched.record["message"]


@pytest.fixture
def unknown(tmp_path_factory) -> Iterator[tuple[PackageIndex, str]]:
    """An index with a certificate of a CA that the image does not know, and the CA's file."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    subject = Subject("index", addresses=("127.0.0.1",))
    served = PackageIndex(certificate=authority.issue("index", subject))
    served.add("tiny", "1.0")
    yield served, str(authority.files.certificate)
    served.close()


PATIENT = {"HEADRACE_OUTAGE_SECONDS": "600"}


def is_refused_at_once(launched, words: str, hint: str) -> None:
    assert launched.wait(30) == 2
    assert (launched.record["class"], launched.record["reason"]) == ("Config", "PackagesNotInstalled")
    assert words in launched.record["message"]
    assert hint in launched.record["hint"]
    assert "trying again" not in launched.log


def test_a_certificate_that_is_not_known_is_told_at_once(start, unknown):
    index, _ = unknown

    launched = start("tiny\n", url=index.url, env=PATIENT)

    is_refused_at_once(launched, "invalid peer certificate", "SSL_CERT_FILE")


def test_with_the_ca_that_the_hint_asks_for_the_packages_are_installed(start, unknown):
    index, certificate = unknown

    launched = start("tiny\n", url=index.url, env={"SSL_CERT_FILE": certificate})

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log


@pytest.mark.parametrize(("status", "hint"), [(401, "password"), (403, "password"), (407, "HTTPS_PROXY")])
def test_an_index_that_lets_nobody_in_is_told_at_once(start, index, status, hint):
    index.status = status

    launched = start("tiny\n", env=PATIENT)

    is_refused_at_once(launched, str(status), hint)


def test_a_proxy_that_lets_nobody_through_is_told_at_once(start, index):
    proxy = {"HTTPS_PROXY": f"http://{index.address}", "NO_PROXY": "", "no_proxy": ""}

    launched = start("tiny\n", url="https://pypi.invalid/simple", env=PATIENT | proxy)

    is_refused_at_once(launched, "proxy authorization required", "HTTPS_PROXY")


def test_an_installation_has_its_time(start, index):
    index.add("tiny", "1.0")
    index.is_slow = True

    launched = start("tiny\n", env={"HEADRACE_PACKAGES_SECONDS": "3", "UV_HTTP_TIMEOUT": "60"})

    assert launched.wait(20) == 2
    assert launched.record["reason"] == "PackagesNotInstalled"
    assert "took too long" in launched.record["message"]


# --- passwords ---


def with_password(index) -> str:
    return f"http://{USER}:{PASSWORD}@{index.address}/simple"


@pytest.fixture
def guarded() -> Iterator[PackageIndex]:
    served = PackageIndex(asks_for_password=True)
    served.add("tiny", "1.0")
    yield served
    served.close()


def test_an_index_with_a_password_is_used_and_the_password_is_not_told(start, guarded):
    launched = start("tiny\n", url=with_password(guarded))

    assert launched.wait() == 0
    assert "the script has tiny 1.0" in launched.log
    assert PASSWORD not in everything_said(launched)


def test_the_file_takes_the_password_from_the_environment(start, guarded, s3):
    bucket = s3.bucket()
    line = f"--index-url http://${{INDEX_USER}}:${{INDEX_PASSWORD}}@{guarded.address}/simple\ntiny\n"

    secrets = {"INDEX_USER": USER, "INDEX_PASSWORD": PASSWORD}
    launched = start(line, env=secrets, config=storage(s3, bucket))

    assert launched.wait() == 0
    assert PASSWORD not in everything_said(launched)
    assert all(PASSWORD.encode() not in s3.get(bucket, key) for key in s3.keys(bucket))


TOLD = {
    "no such version": "--index-url {url}\ntiny==9\n",
    "malformed beside it": "--index-url {url}\ntiny ==== ?\n",
    "malformed itself": "--index-url ht!tp://{user}:{password}@x y\ntiny\n",
    "a space in the password": "--index-url http://{user}:{password} more@{address}/simple\ntiny\n",
    "a direct address": "tiny @ http://{user}:{password}@{address}/files/gone-1.0-py3-none-any.whl\n",
    "an unknown scheme": "tiny @ htps://{user}:{password}@{address}/tiny.whl\n",
    "no at sign": "--extra-index-url http://{user}:{password}\ntiny==9\n",
}


@pytest.mark.parametrize("case", TOLD)
def test_no_failure_tells_a_password(start, guarded, case):
    url = with_password(guarded)
    text = TOLD[case].format(url=url, user=USER, password=PASSWORD, address=guarded.address)

    launched = start(text, url=url)

    assert launched.wait() != 0 or "the script has" in launched.log
    assert PASSWORD not in everything_said(launched)


# --- SIGTERM ---


def test_sigterm_ends_an_installation_cleanly_and_leaves_no_process(start, index):
    index.add("tiny", "1.0")
    index.is_slow = True
    launched = start("tiny\n", env={"UV_HTTP_TIMEOUT": "60"})
    wait_until(lambda: any(path.startswith("/files") for path in index.asked), 20, "the download has begun")
    assert launched.progress["state"] == "Installing"

    launched.process.terminate()

    assert launched.wait(5) == 6
    assert (launched.record["outcome"], launched.record["reason"]) == ("Interrupted", "Terminated")
    assert "Traceback" not in launched.log
    assert not (launched.work / ".headrace/packages").exists()
    assert running_below(launched.work) == []


def running_below(folder) -> list[str]:
    """Commands of this machine that name the folder."""
    import psutil

    return [command for process in psutil.process_iter() if str(folder) in (command := _command(process))]


def _command(process) -> str:
    import psutil

    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
