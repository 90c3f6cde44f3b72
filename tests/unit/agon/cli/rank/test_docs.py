"""docs/rank.md and the README say what `agon rank` does today."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agon.cli import main
from agon.cli.rank.command import rank
from agon.cli.rank.grouped import GroupedOption

ROOT = Path(__file__).parents[5]
PAGE = (ROOT / "docs" / "rank.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN = re.compile(
    r"^```console\n\$ (?:\.venv/bin/)?agon (rank .*?)\n```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
SHOWN = [("docs/rank.md", *found) for found in RUN.findall(PAGE)] + [
    ("README", *found) for found in RUN.findall(README)
]


def options_table() -> str:
    """Every option in its group, as the page should have it."""
    groups: dict[str, list[str]] = {}
    for option in rank.params:
        if isinstance(option, GroupedOption):
            context = click.Context(rank)
            names, told = option.get_help_record(context) or ("", "")
            cells = [cell.replace("|", "\\|") for cell in (f"`{names}`", told)]
            groups.setdefault(option.group, []).append(f"| {' | '.join(cells)} |")
    return "\n\n".join(f"**{group}**\n\n| option | |\n|---|---|\n" + "\n".join(rows) for group, rows in groups.items())


def test_the_page_has_every_option_as_the_command_has_it() -> None:
    start, end = "<!-- options -->\n", "\n<!-- end of options -->"
    assert PAGE.partition(start)[2].partition(end)[0] == options_table()


@pytest.mark.parametrize(("where", "command", "output"), SHOWN, ids=lambda value: str(value)[:20])
def test_what_is_shown_is_what_is_printed(
    where: str, command: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(main, shlex.split(command))
    assert done.exit_code == 0, done.output
    printed = "\n".join(line.rstrip() for line in done.output.splitlines())
    assert printed == output.rstrip("\n"), where


def test_both_pages_show_a_board() -> None:
    assert {where for where, _, _ in SHOWN} == {"docs/rank.md", "README"}


def test_options_that_the_page_speaks_of_exist() -> None:
    known = {name for option in rank.params for name in option.opts} | {"--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) <= known
