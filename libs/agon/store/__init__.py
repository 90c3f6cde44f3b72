"""Postgres: the pool, numbered migrations, consumer offsets, and one module per table family.

| module        | tables                                                                  |
|---------------|-------------------------------------------------------------------------|
| `migrations`  | `agon.migrations`; applies `migrations/*.sql`, makes the role `analyst`  |
| `offsets`     | `agon.consumer_offsets`                                                 |
| `requests`    | `agon.requests`, `agon.completion_texts`                                |
| `models`      | `agon.models`                                                           |
| `battles`     | `agon.arenas`, `agon.battles`, `agon.battle_turns`                      |
| `votes`       | `agon.votes`, `agon.ledger_leaves`                                      |
| `relays`      | `agon.vote_relays`                                                      |
| `cells`       | `agon.pair_cells`, `agon.rating_slices`, `agon.rating_marks`            |
| `leaderboard` | `agon.leaderboards`, `agon.leaderboard_live`: the live boards           |
| `runs`        | `agon.rating_runs`, `agon.rating_run_rows`: the published boards        |
"""
