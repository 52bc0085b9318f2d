"""What surrounds the book agrees with it: version, citation, changelog, hooks, workflow."""

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def version():
    """Return the version that pyproject.toml gives (Python 3.10 has no parser of TOML)."""
    (found,) = re.findall(r'^version = "([^"]+)"$', read("pyproject.toml"), re.M)
    return found


def releases():
    """List the versions in the changelog with their dates, as they stand."""
    return re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.M)


def test_the_citation_is_complete():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # the format asks for
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == yaml.safe_load(read("_config.yml"))["title"]
    assert citation["license"] == "MIT" and read("LICENSE").startswith("MIT License")
    assert all(author["name"] in read("LICENSE") for author in citation["authors"])
    (paper,) = citation["references"]
    assert paper["title"] in read("README.md") and str(paper["year"]) in read("README.md")
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in read("README.md")


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == version()
    assert isinstance(citation["date-released"], date)
    assert dict(releases())[version()] == citation["date-released"].isoformat()


def test_the_changelog_begins_with_this_version_and_goes_back():
    assert releases()[0][0] == version()
    assert len(releases()) == read("CHANGELOG.md").count("\n## ")
    assert releases() == sorted(
        releases(), key=lambda r: [*map(int, r[0].split("."))], reverse=True
    )


def test_the_workflow_runs_what_continuous_integration_runs():
    workflow = yaml.safe_load(read(".github/workflows/test.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert job["timeout-minutes"] > 0


FORMS = sorted(path.name for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


@pytest.mark.parametrize("name", FORMS)
def test_forms_have_what_a_form_needs(name):
    form = yaml.safe_load(read(f".github/ISSUE_TEMPLATE/{name}"))
    if name == "config.yml":
        assert isinstance(form["blank_issues_enabled"], bool)
        return
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)


def test_the_hooks_are_those_of_make_lint():
    (hooks,) = [repo["hooks"] for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]]
    for command in ("check", "format"):
        assert f"-m ruff {command}" in read("Makefile")
        assert any(f"ruff {command} " in hook["entry"] for hook in hooks)
    assert all("jupyter" in hook["types_or"] for hook in hooks)
