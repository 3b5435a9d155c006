"""Every configuration example of the documentation passes a configtest."""

import re
from pathlib import Path

import pytest

import deciding

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^( *)```apache\n(.*?)^\1```", re.M | re.S)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
EXAMPLES = [
    pytest.param(found[2], id=f"{page.name}:{page.read_text()[:found.start()].count(chr(10)) + 1}")
    for page in PAGES for found in FENCE.finditer(page.read_text())
]


def harmless(example, httpd):
    """The example without what depends on the machine: other modules' files, users, ports."""
    dropped = r"^\s*(LoadModule|Listen|SSL\w+|User|Group|Include\w*)\b.*$"
    example = re.sub(dropped, "", example, flags=re.M)
    example = re.sub(r"(?<![\w-])(user|group|script-user|script-group)=[\w-]+", r"\1=www-data", example)
    example = example.replace("env-file=/etc/site.env", f"env-file={httpd.write('site.env', '')}")
    return example.replace("python3.13", "python3")


@pytest.mark.ours("examples use options of ours")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_passes_the_configtest(httpd, example):
    modules = deciding.MODULES if "AuthType" in example else ()
    assert httpd.configtest(harmless(example, httpd), modules), httpd.control_output


def test_the_readme_has_an_example():
    assert any(example.id.startswith("README.md:") for example in EXAMPLES)
