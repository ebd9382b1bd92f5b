"""What a service should serve, by its spec, the registry and its status: a table of cases, and what holds in all."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.modelservice import ModelService, RejectedDigest, Revision, ServedModel
from headrace.serving.revision import revision_name
from headrace.serving.target import RETRY_ANNOTATION, Registry, Target, artifact_of, wanted
from serving_builders import artifact, model_service

SMALL, LARGE = {"limits": {"memory": "1Gi"}}, {"limits": {"memory": "8Gi"}}
PROMOTES = {"promotion": {"alias": "champion"}}


def service(spec: dict[str, Any], asks: str = "", **status: Any) -> ModelService:
    """A service with these resources; `asks` is the retry annotation."""
    made = model_service(resources=spec, rollout=PROMOTES, annotations={RETRY_ANNOTATION: asks} if asks else {})
    return made.model_copy(update={"status": made.status.model_copy(update=status)})


def revision(version: int, spec: dict[str, Any] = SMALL) -> Revision:
    found = artifact(version)
    name = revision_name(model_service(resources=spec), found)
    model = ServedModel(name=found.model, version=found.version)
    return Revision(revision=name, digest=found.digest, uri=found.uri, model=model)


def rejected(version: int, spec: dict[str, Any] = SMALL) -> RejectedDigest:
    tried = revision(version, spec)
    return RejectedDigest(digest=tried.digest or "", revision=tried.revision, reason="AnalysisFailed", message="slow")


def registry(source: int | None, promoted: int | None = None, *rolled_back: int) -> Registry:
    return Registry(
        source=artifact(source) if source else None,
        promoted=artifact(promoted) if promoted else None,
        rolled_back={artifact(version): "AnalysisFailed" for version in rolled_back},
    )


NOTHING: dict[str, Any] = {}
STABLE_7 = {"stable": revision(7)}
TURNED_BACK_8 = STABLE_7 | {"rejected": (rejected(8),)}

CASES = {
    # situation: (status, spec, the annotation, the registry, what is served)
    "a new service": (NOTHING, SMALL, "", registry(1), revision(1)),
    "a new service of a model that was promoted before": (NOTHING, SMALL, "", registry(8, 7), revision(7)),
    "status lost, and the source alias is at what was rolled back": (
        NOTHING,
        SMALL,
        "",
        registry(8, 7, 8),
        revision(7),
    ),
    "status lost, and nothing was ever promoted": (NOTHING, SMALL, "", registry(8, None, 8), None),
    "status lost, and somebody asks for it": (NOTHING, SMALL, "8", registry(8, None, 8), revision(8)),
    "another service turned back what was promoted here": (NOTHING, SMALL, "", registry(8, 7, 7, 8), revision(7)),
    "the source alias is gone, the promotion alias is not": (NOTHING, SMALL, "", registry(None, 7), revision(7)),
    "nothing is known of the registry": (NOTHING, SMALL, "", registry(None), None),
    "all is well": (STABLE_7, SMALL, "", registry(7), revision(7)),
    "a new version": (STABLE_7, SMALL, "", registry(8), revision(8)),
    "a new version and a new spec": (STABLE_7, LARGE, "", registry(8), revision(8, LARGE)),
    "a new spec": (STABLE_7, LARGE, "", registry(7), revision(7, LARGE)),
    "a new spec, and a tag of an earlier try on what is stable": (
        STABLE_7,
        LARGE,
        "",
        registry(7, None, 7),
        revision(7, LARGE),
    ),
    "a version that the registry alone knows as rolled back": (STABLE_7, SMALL, "", registry(8, None, 8), revision(7)),
    "a version that was turned back": (TURNED_BACK_8, SMALL, "", registry(8, None, 8), revision(7)),
    "it was turned back, and somebody asks": (TURNED_BACK_8, SMALL, "8", registry(8, None, 8), revision(8)),
    "it was turned back, and is tried again": (
        TURNED_BACK_8 | {"canary": revision(8)},
        SMALL,
        "",
        registry(8, None, 8),
        revision(8),
    ),
    "it was turned back, and the spec changed: stable first": (
        TURNED_BACK_8,
        LARGE,
        "",
        registry(8, None, 8),
        revision(7, LARGE),
    ),
    "stable has the new spec, what was turned back with the old one is tried with it": (
        {"stable": revision(7, LARGE), "rejected": (rejected(8),)},
        LARGE,
        "",
        registry(8, None, 8),
        revision(8, LARGE),
    ),
    "it was turned back with either spec": (
        {"stable": revision(7, LARGE), "rejected": (rejected(8, LARGE),)},
        LARGE,
        "",
        registry(8, None, 8),
        revision(7, LARGE),
    ),
    "the new spec was turned back with the stable version": (
        STABLE_7 | {"rejected": (rejected(7, LARGE),)},
        LARGE,
        "",
        registry(7),
        revision(7),
    ),
    "both were turned back with the new spec": (
        STABLE_7 | {"rejected": (rejected(7, LARGE), rejected(8, LARGE))},
        LARGE,
        "",
        registry(8, None, 8),
        revision(7),
    ),
    "the registry alone knows it as rolled back, and the spec changed": (
        STABLE_7,
        LARGE,
        "",
        registry(8, None, 8),
        revision(7, LARGE),
    ),
}


@pytest.mark.parametrize("situation", CASES)
def test_what_is_served_when(situation: str) -> None:
    status, spec, asks, known, expected = CASES[situation]
    asked = service(spec, asks, **status)

    found = wanted(asked, asked.status, known).revision

    assert found == expected


@pytest.mark.parametrize(
    ("status", "known", "said"),
    [
        (NOTHING, registry(8, None, 8), "let the alias point at another version"),
        (STABLE_7, registry(8, None, 8), "tag headrace.rollout"),
        (TURNED_BACK_8, registry(8), "slow"),
    ],
)
def test_what_is_refused_is_said_with_the_command_that_asks_for_it(status, known, said) -> None:
    refused = service(SMALL, **status)

    refusal = wanted(refused, refused.status, known).refusal

    assert refusal is not None
    assert refusal.reason == "AnalysisFailed"
    assert f"kubectl -n team-a annotate modelservice text {RETRY_ANNOTATION}=8" in refusal.message
    assert said in refusal.message


# --- what holds in all situations -------------------------------------------------------------------------------------

VERSIONS = st.integers(1, 4)
SPECS = st.sampled_from([SMALL, LARGE])
REGISTRIES = st.builds(
    lambda source, promoted, tagged: registry(source, promoted, *tagged),
    VERSIONS | st.none(),
    VERSIONS | st.none(),
    st.sets(VERSIONS),
)
REJECTED = st.lists(st.builds(rejected, VERSIONS, SPECS), max_size=4, unique_by=lambda entry: entry.digest).map(tuple)


@given(SPECS, REGISTRIES)
def test_lost_status_never_serves_what_was_rolled_back_nor_anything_beside_what_was_promoted(spec, known):
    lost = service(spec)

    first = wanted(lost, lost.status, known).revision

    if first is not None:
        assert first.digest == getattr(known.promoted, "digest", None) or artifact_of(first) not in known.rolled_back
        assert first.digest == (known.promoted or known.source).digest


@given(SPECS, SPECS, VERSIONS, REJECTED, REGISTRIES)
def test_no_rollout_of_what_was_turned_back_begins_unasked(spec, before, serves, turned_back, known):
    at_rest = service(spec, stable=revision(serves, before), rejected=turned_back)

    found = wanted(at_rest, at_rest.status, known).revision

    if found is not None and found.revision != at_rest.status.stable.revision:
        assert found.revision not in {entry.revision for entry in turned_back}
        told = {entry.digest for entry in turned_back} | {revision(serves).digest}
        assert found.digest in told or artifact_of(found) not in known.rolled_back


@given(SPECS, SPECS, VERSIONS, REJECTED, REGISTRIES, st.lists(st.booleans(), min_size=8, max_size=8))
def test_rollouts_come_to_an_end_however_each_ends(spec, before, serves, turned_back, known, promoted):
    """No two targets take turns: with the registry as it is, each rollout is begun once."""
    now, begun = service(spec, stable=revision(serves, before), rejected=turned_back), []
    for good in promoted:
        status = now.status
        found = wanted(now, status, known).revision
        if found is None or found.revision == status.stable.revision:
            break
        begun.append(found.revision)
        others = tuple(entry for entry in status.rejected if entry.digest != found.digest)
        entry = RejectedDigest(digest=found.digest, revision=found.revision, reason="AnalysisFailed")
        changed = {"stable": found, "rejected": others} if good else {"rejected": (*others, entry)}
        now = now.model_copy(update={"status": status.model_copy(update=changed)})

    assert len(begun) == len(set(begun)) <= 2


@given(VERSIONS, st.sampled_from([None, 4]))
def test_a_signature_comes_out_of_status_as_it_went_in(version, takes):
    found = artifact(version, takes=takes)
    asked = service(SMALL)

    first = wanted(asked, asked.status, Registry(source=found)).revision

    assert first is not None
    assert artifact_of(first).signature == found.signature


@given(VERSIONS)
def test_an_artifact_comes_out_of_status_as_it_went_in(version):
    assert artifact_of(revision(version)) == artifact(version)


def test_the_bytes_that_were_promoted_serve_though_another_version_of_them_was_rolled_back():
    lost = service(SMALL)
    twin = replace(artifact(7), version="8")

    first = wanted(lost, lost.status, Registry(source=twin, promoted=artifact(7), rolled_back={twin: "Crashed"}))

    assert first == Target(revision(7))


def test_without_anything_known_there_is_no_target():
    unknown = service(SMALL)

    assert wanted(unknown, unknown.status, Registry()) == Target(None)
