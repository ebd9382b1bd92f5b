"""What every generated CRD has to be, whatever its kind."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import pytest
import yaml

from headrace.api.base import Model, Rule, Schema
from headrace.api.crd import custom_resource_definition, root_schema
from headrace.api.generate import generated_files, stale_files, write_files
from headrace.api.modelservice import ModelService
from headrace.api.structural import NotStructural, explained, object_schema
from headrace.api.trainingjob import TrainingJob

ROOTS = (TrainingJob, ModelService)
CLIENT_SIDE_APPLY_LIMIT = 262_144


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below one, with a path to name it by; metadata is Kubernetes' own and left out."""
    for name, part in schema.get("properties", {}).items():
        if (path, name) != ("", "metadata"):
            yield f"{path}.{name}", part
            yield from fields(part, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield f"{path}{mark}", schema[key]
            yield from fields(schema[key], f"{path}{mark}")


def offenders(root: type[Model], is_wrong: Any) -> list[str]:
    return [path for path, part in fields(root_schema(root)) if is_wrong(part)]


@pytest.mark.parametrize("root", ROOTS)
class TestEveryGeneratedSchema:
    def test_describes_every_field(self, root):
        assert offenders(root, lambda part: not part.get("description")) == []

    def test_has_no_floats(self, root):
        assert offenders(root, lambda part: part.get("type") == "number") == []

    def test_bounds_every_string(self, root):
        def is_unbounded(part):
            is_string = part.get("type") == "string"
            return is_string and not {"maxLength", "enum"} & part.keys() and part.get("format") != "date-time"

        assert offenders(root, is_unbounded) == []

    def test_bounds_every_list(self, root):
        assert offenders(root, lambda part: part.get("type") == "array" and "maxItems" not in part) == []

    def test_bounds_every_map(self, root):
        assert offenders(root, lambda part: "additionalProperties" in part and "maxProperties" not in part) == []

    def test_bounds_every_integer_from_below(self, root):
        assert offenders(root, lambda part: part.get("type") == "integer" and "minimum" not in part) == []

    def test_says_of_every_list_how_it_merges(self, root):
        assert offenders(root, lambda part: part.get("type") == "array" and "x-kubernetes-list-type" not in part) == []

    def test_requires_the_keys_of_every_map_list_or_has_a_default_for_them(self, root):
        def lacks_key(part):
            keys, items = part.get("x-kubernetes-list-map-keys", []), part.get("items", {})
            defaults = {name for name, field in items.get("properties", {}).items() if "default" in field}
            return not set(keys) <= set(items.get("required", [])) | defaults

        assert offenders(root, lacks_key) == []

    def test_has_nothing_that_a_structural_schema_may_not_have(self, root):
        forbidden = {"$ref", "anyOf", "oneOf", "allOf", "nullable", "title", "exclusiveMinimum", "exclusiveMaximum"}
        assert offenders(root, lambda part: forbidden & part.keys()) == []

    def test_gives_every_rule_a_message_of_one_line(self, root):
        def has_wordless_rule(part):
            rules = part.get("x-kubernetes-validations", [])
            return any(not rule["message"] or "\n" in rule["message"] for rule in rules)

        assert offenders(root, has_wordless_rule) == []

    def test_points_every_rule_and_column_at_a_field_that_exists(self, root):
        schema = root_schema(root)
        known = {path for path, _ in fields(schema)} | {".metadata.creationTimestamp"}
        version = custom_resource_definition(root)["spec"]["versions"][0]
        columns = {column["jsonPath"] for column in version["additionalPrinterColumns"]}
        selectable = {field["jsonPath"] for field in version["selectableFields"]}
        rules = {
            path + rule["fieldPath"]
            for path, part in fields(schema)
            for rule in part.get("x-kubernetes-validations", [])
            if "fieldPath" in rule
        }
        assert columns | selectable | rules <= known

    def test_is_small_enough_for_kubectl_apply(self, root):
        # What kubectl keeps in an annotation is JSON. A quarter is left for other annotations, and for what comes.
        assert len(json.dumps(custom_resource_definition(root))) < CLIENT_SIDE_APPLY_LIMIT * 3 / 4


class TestTranslation:
    def test_keeps_inner_bounds_and_lets_the_field_add_its_own(self):
        Named = Annotated[str, Schema(maxLength=63, pattern="^a")]

        class Thing(Model):
            """A thing."""

            name: Annotated[Named, Schema("Its name.", maxLength=10)]

        assert object_schema(Thing)["properties"]["name"] == {
            "type": "string",
            "pattern": "^a",
            "maxLength": 10,
            "description": "Its name.",
        }

    def test_writes_the_default_of_a_section_out(self):
        properties = root_schema(TrainingJob)["properties"]["spec"]["properties"]
        assert properties["strategy"]["default"] == {"type": "SingleWorker", "workers": 1}
        assert properties["checkpoint"]["default"] == {
            "interval": "5m",
            "keep": 3,
            "resume": "Exact",
            "maxReplay": "10m",
            "gracePeriod": "30s",
        }

    def test_gives_members_of_a_union_no_default(self):
        for part in root_schema(TrainingJob)["properties"]["spec"]["properties"]["source"]["properties"].values():
            assert "default" not in part

    def test_refuses_a_field_without_a_description(self):
        class Thing(Model):
            """A thing."""

            name: str

        with pytest.raises(NotStructural, match=r"Thing\.name has no description"):
            object_schema(Thing)

    def test_refuses_floats(self):
        class Thing(Model):
            """A thing."""

            ratio: Annotated[float, Schema("A ratio.")]

        with pytest.raises(NotStructural, match="float"):
            object_schema(Thing)

    def test_makes_one_transition_rule_for_each_field_that_may_not_change(self):
        class Thing(Model):
            """A thing."""

            immutable_except: ClassVar[tuple[str, ...] | None] = ("is_paused",)
            size: Annotated[int, Schema("Its size.")]
            is_paused: Annotated[bool, Schema("Whether it rests.")] = False

        assert [rule["fieldPath"] for rule in object_schema(Thing)["x-kubernetes-validations"]] == [".size"]

    def test_keeps_rules_of_type_and_field(self):
        inner, outer = Rule("self > 0", "inner"), Rule("self > 1", "outer")

        class Thing(Model):
            """A thing."""

            size: Annotated[Annotated[int, Schema(rules=(inner,))], Schema("Its size.", rules=(outer,))]

        rules = object_schema(Thing)["properties"]["size"]["x-kubernetes-validations"]
        assert [rule["message"] for rule in rules] == ["inner", "outer"]

    def test_tells_bounds_and_defaults_in_the_description(self):
        class Thing(Model):
            """A thing."""

            size: Annotated[int, Schema("Its size.", minimum=1, maximum=9)] = 3

        told = explained(object_schema(Thing))["properties"]["size"]["description"]
        assert told == "Its size. From 1 to 9. Default: 3."


class TestGeneratedFiles:
    def test_in_the_repository_are_up_to_date(self, repository):
        assert stale_files(repository) == []

    def test_are_written_once_and_then_not_stale(self, tmp_path):
        written = write_files(tmp_path)
        assert sorted(written) == sorted(generated_files())
        assert stale_files(tmp_path) == []
        assert write_files(tmp_path) == []

    def test_are_stale_when_edited_by_hand(self, tmp_path):
        write_files(tmp_path)
        with (tmp_path / "crds/trainingjob.yaml").open("a") as file:
            file.write("# edited\n")
        assert stale_files(tmp_path) == ["crds/trainingjob.yaml"]

    def test_of_a_kind_that_is_gone_are_taken_away(self, tmp_path):
        write_files(tmp_path)
        left_over = tmp_path / "crds/oldkind.yaml"
        left_over.write_text("kind: CustomResourceDefinition\n")
        assert stale_files(tmp_path) == ["crds/oldkind.yaml"]
        write_files(tmp_path)
        assert not left_over.exists()

    def test_for_the_chart_are_the_same_crds_and_survive_an_uninstall(self):
        files = generated_files()
        plain, kept = (
            yaml.load(files[f"{folder}/trainingjob.yaml"], Loader=yaml.CSafeLoader)
            for folder in ("crds", "charts/headrace/templates/crds")
        )
        assert kept["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert kept == plain
