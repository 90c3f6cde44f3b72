"""Postgres: the pool, numbered migrations, consumer offsets, and one module per table family.

| module        | tables                                                                  |
|---------------|-------------------------------------------------------------------------|
| `migrations`  | `agon.migrations`; applies `migrations/*.sql`, makes the role `analyst`  |
| `offsets`     | `agon.consumer_offsets`                                                 |
| `requests`    | `agon.requests`, `agon.completion_texts`                                |
| `api_keys`    | `agon.api_keys`, `agon.api_key_changes`                                 |
| `files`       | `agon.files`, `agon.file_parts`                                         |
| `batches`     | `agon.batches`                                                          |
| `batch_lines` | `agon.batch_lines`, `agon.batch_requests`                               |
| `stored_chats` | `agon.stored_chats`                                                    |
| `responses`   | `agon.responses`                                                        |
| `conversations` | `agon.conversations`, `agon.conversation_entries`                     |
| `retention`   | what of those six is too old                                            |
| `models`      | `agon.models`                                                           |
| `battles`     | `agon.arenas`, `agon.battles`, `agon.battle_turns`                      |
| `votes`       | `agon.votes`, `agon.ledger_leaves`                                      |
| `exports`     | votes with what belongs to them, read through a cursor                  |
| `ballots`     | counted votes one by one, with their answers' style                     |
| `covariances` | `agon.rating_covariances`                                               |
| `retractions` | `agon.votes`: counted votes taken back                                  |
| `relays`      | `agon.vote_relays`                                                      |
| `cells`       | `agon.pair_cells`, `agon.rating_slices`, `agon.rating_marks`            |
| `leaderboard` | `agon.leaderboards`, `agon.leaderboard_live`: the live boards           |
| `runs`        | `agon.rating_runs`, `agon.rating_run_rows`: the published boards        |
"""
