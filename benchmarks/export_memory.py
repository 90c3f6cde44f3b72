"""How much memory `agon export` takes, and how long, for votes by the hundred thousand: it must not grow with them.

    python benchmarks/export_memory.py [--votes 1000000] [--models 130]

Postgres fills a tenth of the votes with statements of its own (imports, judged and counted, over thirty days), they are
exported, then all of them are. Memory is the highest that the exporting process ever had (VmHWM); its growth per vote
is what the larger export took more.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from house import House, house
from stack import machine, save

_FILL = """
INSERT INTO agon.votes (tenant, arena, seq, verdict, vote_id, turn, voter, outcome, model_a, model_b, slices, voted_at,
    judged_at, leaf)
SELECT 'default', 'main', n, 'counted', 'import-' || n, 1, 'voter-' || n % 5000,
       (ARRAY['a', 'b', 'tie', 'both_bad'])[1 + n % 4], 'provider/model-' || n % $3,
       'provider/model-' || (n + 1 + n / 7 % ($3 - 1)) % $3, '{overall,language-en}', moment, moment, n - 1
FROM (SELECT n, timestamptz '2026-10-01' + n * interval '30 days' / $4 AS moment
      FROM generate_series($1::bigint, $2::bigint) AS n) AS numbered
"""

# What the command does, and then the high-water mark of its process.
_EXPORT = """
import sys
from agon.cli import main
try:
    main(["export", sys.argv[1], "--json"], standalone_mode=False)
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1], file=sys.stderr)
"""


def export(house: House, folder: Path) -> dict[str, Any]:
    """Export everything with the command, in a process of its own."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _EXPORT, str(folder)],
        env={"AGON_POSTGRES_URL": house.postgres_url, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"the export failed: {done.stderr[-2000:]}")
    tables = json.loads(done.stdout)["tables"]
    return {
        "rows": {name: table["rows"] for name, table in tables.items()},
        "files": sum(len(table["files"]) for table in tables.values()),
        "seconds": round(time.monotonic() - began, 1),
        "peak_mb": round(int(done.stderr.split()[-1]) / 1024, 1),
    }


async def measure(votes: int, models: int) -> dict[str, Any]:
    runs = []
    async with house() as started:
        db = await asyncpg.connect(started.postgres_url)
        before = 0
        for upto in (votes // 10, votes):
            await db.execute(_FILL, before + 1, upto, models, votes, timeout=600)
            await db.execute("ANALYZE agon.votes")
            before = upto
            with tempfile.TemporaryDirectory(prefix="agon-bench-") as folder:
                runs.append(await asyncio.to_thread(export, started, Path(folder) / "export"))
            print(json.dumps(runs[-1]), flush=True)
            if set(runs[-1]["rows"].values()) != {upto}:
                raise SystemExit(f"{runs[-1]['rows']} rows were exported, {upto} votes are there")
        await db.close()
    grown = (runs[1]["peak_mb"] - runs[0]["peak_mb"]) * 1024**2 / (votes - votes // 10)
    return {"votes": votes, "models": models, "runs": runs, "bytes_more_per_vote": round(grown, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and time of an export.")
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--models", type=int, default=130)
    options = parser.parse_args()
    figures = asyncio.run(measure(options.votes, options.models))
    print(machine())
    print(json.dumps(figures, indent=2))
    save("export_memory", figures)


if __name__ == "__main__":
    main()
