"""Make the two llmfao files here from the published ones: `python make_llmfao.py FOLDER`.

FOLDER holds crowd-comparisons.csv, pairs-crowd.jsonl and models.jsonl of dustalov/llmfao.
"""

import csv
import gzip
import io
import json
import sys
from pathlib import Path

from agon.ratings import STYLE, style_of

HERE = Path(__file__).parent


def main(folder: Path) -> None:
    with (folder / "crowd-comparisons.csv").open(newline="") as file:
        rows = [
            {key: row[key] for key in ("id", "prompt", "worker", "left", "right", "winner")}
            for row in csv.DictReader(file)
        ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    (HERE / "llmfao.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))

    names = {model["id"]: model["name"] for model in lines(folder / "models.jsonl")}
    answers = {}
    for pair in lines(folder / "pairs-crowd.jsonl"):
        for side in "xy":
            answers[pair["prompt"], names[pair[f"model_{side}"]]] = pair[f"result_{side}"]
    with (HERE / "llmfao_style.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["prompt", "model", *STYLE])
        for (prompt, model), answer in sorted(answers.items()):
            table.writerow([prompt, model, *style_of([answer])[0].astype(int).tolist()])


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
