"""Postgres: the pool, numbered migrations, consumer offsets, and one module per table family.

| module        | tables                                                                  |
|---------------|-------------------------------------------------------------------------|
| `migrations`  | `agon.migrations`; applies `migrations/*.sql`, makes the role `analyst`  |
| `offsets`     | `agon.consumer_offsets`                                                 |
| `requests`    | `agon.requests`, `agon.completion_texts`                                |
| `models`      | `agon.models`                                                           |
| `battles`     | `agon.arenas`, `agon.battles`, `agon.battle_turns`                      |
| `votes`       | `agon.votes`, `agon.vote_counters`, `agon.ledger_leaves`                |
| `leaderboard` | `agon.leaderboard_live`, `agon.rating_runs` and what goes with them     |
"""
