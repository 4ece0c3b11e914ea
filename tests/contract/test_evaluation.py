"""What the local ESC makes of a definition: its values, and what it finds wrong with it.

The expected values and texts are those of `eval` in github.com/pulumi/esc v0.26.0 for the same definitions.
"""

import pytest
import requests

from sandbox import RefusedError, Sandbox

ENVIRONMENT = "acme/web/production"


@pytest.mark.parametrize(
    ("definition", "values"),
    [
        ("", {}),
        ("values: {}", {}),
        ("VALUES: {a: 1}", {"a": 1}),
        ("values: {a: text, b: 1, c: 1.5, d: true, e: ~}", {"a": "text", "b": 1, "c": 1.5, "d": True, "e": None}),
        ("values: {a: yes, b: on, c: 2001-01-01, d: 1:30}", {"a": "yes", "b": "on", "c": "2001-01-01", "d": "1:30"}),
        ("values: {a: 0123, b: 0x1f, c: 0o17, d: 1_000}", {"a": 83, "b": 31, "c": 15, "d": 1000}),
        ("values: {a: 1e3, b: 5., c: 1.50, d: 1e400}", {"a": 1000, "b": 5, "c": 1.5, "d": "1e400"}),
        ("values: {a: !!str 5, b: '5', c: !!int '7'}", {"a": "5", "b": "5", "c": 7}),
        ("values: {a: {b: [1, {c: x}]}}", {"a": {"b": [1, {"c": "x"}]}}),
        ("values: {a: {b: [1, {c: x}]}, d: '${a.b[1].c}'}", {"a": {"b": [1, {"c": "x"}]}, "d": "x"}),
        ("values: {a: [1, {b: x}], c: '${a}'}", {"a": [1, {"b": "x"}], "c": [1, {"b": "x"}]}),
        ('values: {"a b": {"c.d": 1}, e: \'<${["a b"]["c.d"]}>\'}', {"a b": {"c.d": 1}, "e": "<1>"}),
        ("values: {a: '$${b} $x $', c: \"${d}\", d: '$${a}'}", {"a": "${b} $x $", "c": "${a}", "d": "${a}"}),
        ("values: {a: true, b: null, c: '${a}-${b}'}", {"a": True, "b": None, "c": "true-"}),
        ("values: {a: [1, x], b: '<${a}>'}", {"a": [1, "x"], "b": '<"1","x">'}),
        ("values: {a: {fn::secret: $$x}, b: 'y${a}'}", {"a": "$$x", "b": "y$$x"}),
        ("values: {a: {fn::toJSON: {b: [1, null], a: é}}}", {"a": '{"a":"é","b":[1,null]}'}),
        ("values: {a: {fn::fromJSON: '{\"b\": [1]}'}, c: '${a.b[0]}'}", {"a": {"b": [1]}, "c": 1}),
        ("values: {a: {fn::toBase64: hi}, b: {fn::fromBase64: aGk=}}", {"a": "aGk=", "b": "hi"}),
        ("values: {a: {fn::join: [',', [x, y]]}, b: {fn::split: [',', '${a}']}}", {"a": "x,y", "b": ["x", "y"]}),
        ("values: {a: {fn::concat: [[1], [2, 3]]}, b: {fn::toString: {x: 1}}}", {"a": [1, 2, 3], "b": '"x"="1"'}),
        ("values: {a: {fn::open::aws-login: {}}, b: '${a.x}'}", {"a": "[unknown]", "b": "[unknown]"}),
        ("values: {a: '${context.currentEnvironment.name}'}", {"a": "web/production"}),
        ("---\nvalues: {a: 1}\n---\nvalues: {a: 2}\n", {"a": 1}),
    ],
)  # fmt: skip
def test_values(definition: str, values: dict[str, object], box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT, definition)
    assert box.esc.values(ENVIRONMENT) == values


def test_imports_are_merged_key_by_key(box: Sandbox) -> None:
    box.esc.create("acme/default/a", "values: {object: {x: 1, y: {p: 1}}, list: [1], text: a}\n")
    box.esc.create("acme/shared/b", "values: {object: {y: {q: 2}}, list: [2]}\n")
    box.esc.create("acme/shared/c", "values: {alone: 3}\n")
    imports = "imports: [a, shared/b, {shared/c: {merge: false}}]\n"
    box.esc.create(
        ENVIRONMENT, imports + "values: {object: {z: '${object.x}'}, text: '${imports[\"shared/c\"].alone}'}\n"
    )
    assert box.esc.values(ENVIRONMENT) == {
        "object": {"x": 1, "y": {"p": 1, "q": 2}, "z": 1},
        "list": [2],
        "text": 3,
    }


@pytest.mark.parametrize(
    ("definition", "summary", "place"),
    [
        ("# nothing\n", "environment must be an object", None),
        ("[]", "environment must be an object", None),
        ("values:\n", "values must be an object", (1, 8)),
        ("values: []\n", "values must be an object", (1, 9)),
        ("values:\n  a: 'x\n", "yaml: line 3: found unexpected end of stream", None),
        ("values:\n  a: b\n c: d\n", "yaml: line 3: did not find expected key", None),
        ("values:\n  a: 1\n  a: 2\n", 'duplicate key "a"', (3, 3)),
        ("values:\n  a: {b: 1, b: 2}\n", 'duplicate key "b"', (2, 13)),
        ("values:\n  1: x\n", "mapping keys must be strings", (2, 3)),
        ("values:\n  a: &x y\n  b: *x\n", "alias nodes are not supported", (3, 6)),
        ("values:\n  a: ${nobody}\n", 'unknown property "nobody"', (2, 6)),
        ("values:\n  a: {b: 1}\n  c: ${a.x}\n", 'unknown property "x"', (3, 6)),
        ("values:\n  a: [1]\n  b: ${a[7]}\n", "array index 7 out-of-bounds for array of length 1", (3, 6)),
        ("values:\n  a: ${b}\n  b: ${a}\n", "cyclic reference to a", (2, 6)),
        ("values:\n  a: ${b\n", "missing closing brace '}' in interpolation", (2, 6)),
        ("imports: [nowhere]\n", "environment 'acme/default/nowhere' not found", (1, 11)),
        ("imports: nowhere\n", "imports must be a list", (1, 10)),
        ("values:\n  a:\n    fn::secret: 12\n", "secret values must be string literals", (3, 17)),
        ("values:\n  a:\n    fn::secret: ${b}\n", "secret values must be string literals", (3, 17)),
        ("values:\n  a:\n    fn::secret: {b: c}\n", "secret values must be string literals", (3, 17)),
        ("values:\n  a: {fn::secret: {ciphertext: $}}\n", "invalid ciphertext: illegal base64 data", (2, 6)),
        ("values:\n  a: {fn::nothing: 1}\n", "'fn::' is a reserved prefix", (2, 7)),
        ("values:\n  imports: 1\n", '"imports" is a reserved key', (2, 3)),
        ("values:\n  fn::secret: x\n", 'builtin function call "fn::secret" not allowed at the top level', (2, 3)),
    ],
)
def test_diagnostics(definition: str, summary: str, place: tuple[int, int] | None, box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT)
    url = f"{box.esc.url}/api/esc/environments/{ENVIRONMENT}"
    answer = requests.patch(url, definition, headers={"Authorization": f"token {box.esc.token}"}, timeout=60)
    first = answer.json()["diagnostics"][0]
    assert (answer.status_code, first["summary"], box.esc.revision(ENVIRONMENT)) == (400, summary, 1)
    found = first.get("range")
    assert (found and (found["begin"]["line"], found["begin"]["column"])) == place


def test_a_warning_doesnt_stop_a_definition(box: Sandbox) -> None:
    box.esc.create(ENVIRONMENT)
    url = f"{box.esc.url}/api/esc/environments/{ENVIRONMENT}"
    answer = requests.patch(url, "unknown: 1\n", headers={"Authorization": f"token {box.esc.token}"}, timeout=60)
    assert (answer.status_code, answer.headers["Pulumi-ESC-Revision"]) == (200, "2")
    assert [item["severity"] for item in answer.json()["diagnostics"]] == ["warning"]


def test_another_writer_is_told_too(box: Sandbox) -> None:
    with pytest.raises(RefusedError) as refused:
        box.esc.create(ENVIRONMENT, "values: {a: '${b}'}")
    assert (refused.value.status, refused.value.details["diagnostics"][0]["summary"]) == (400, 'unknown property "b"')
