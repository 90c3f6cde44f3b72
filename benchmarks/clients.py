"""Other people's clients against a running stack, each in a file that reads as documentation (docs/clients).

`make clients` installs them into a venv of their own, because they pin other versions of what we use, and runs each
against `--url`. benchmarks/results/clients.json says which of them, in which version, worked.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".clients"
PACKAGES = (
    "instructor==1.17.0",
    "langchain-openai==1.7.4",
    "litellm==1.110.2",
    "lm-eval[api]==0.4.13",
    "transformers==5.24.0",
)
SCRIPTS = ("with_instructor.py", "with_langchain.py", "with_litellm.py")
TASKS = {"local-completions": "agon_opposites", "local-chat-completions": "agon_opposites_chat"}


def commands(url: str, model: str) -> dict[str, list[str]]:
    """What to run, by name."""
    python = str(VENV / "bin" / "python")
    made = {script: [python, str(ROOT / "docs" / "clients" / script)] for script in SCRIPTS}
    for kind, task in TASKS.items():
        path = "chat/completions" if "chat" in kind else "completions"
        tokenizer = ROOT / "libs" / "agon" / "nano" / "models" / model
        args = f"model={model},base_url={url}/v1/{path},tokenizer={tokenizer},tokenized_requests=False"
        made[f"lm_eval {kind}"] = [
            str(VENV / "bin" / "lm_eval"), "run", "--include_path", str(ROOT / "docs" / "clients" / "lm_eval"),
            "--tasks", task, "--model", kind, "--model_args", args,
            *(["--apply_chat_template"] if "chat" in kind else []),
        ]  # fmt: skip
    return made


def install() -> dict[str, str]:
    """Make the venv if it is not there; the versions in it."""
    if not VENV.exists():
        venv.create(VENV, with_pip=True)
        subprocess.run([VENV / "bin" / "pip", "install", "-q", *PACKAGES], check=True)
    (site,) = VENV.glob("lib/python*/site-packages")
    names = {package.partition("=")[0].partition("[")[0] for package in PACKAGES} | {"openai"}
    found = {str(one.metadata["Name"]).replace("_", "-"): one.version for one in distributions(path=[str(site)])}
    return {name: found[name] for name in sorted(names & found.keys())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of a running `agon up`")
    parser.add_argument("--model", default="nano-6m")
    asked = parser.parse_args()
    environment = {**os.environ, "AGON_URL": asked.url, "AGON_MODEL": asked.model, "HF_HUB_OFFLINE": "1"}
    results = {"versions": install(), "model": asked.model, "clients": {}}
    for name, command in commands(asked.url, asked.model).items():
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=600)
        told = [line.replace(str(ROOT), ".") for line in ran.stdout.splitlines() if line.strip()]
        results["clients"][name] = {"works": ran.returncode == 0, "said": told[-8:]}
        print(f"{name}: {'works' if ran.returncode == 0 else ran.stderr[-500:]}", *told[-8:], sep="\n  ")
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    (ROOT / "benchmarks" / "results" / "clients.json").write_text(text, encoding="utf-8")
    sys.exit(not all(one["works"] for one in results["clients"].values()))


if __name__ == "__main__":
    main()
