"""Judged votes become pair cells, pair cells a live board, and now and then a published run.

| module     | what it is                                                    |
|------------|---------------------------------------------------------------|
| `app`      | the composition root                                          |
| `counting` | votes into pair cells, each once                              |
| `tallies`  | pair cells in memory, kept in step with the tables            |
| `boards`   | refits the slices that changed and announces their boards     |
| `methods`  | what published runs are fitted with                           |
| `runs`     | fits from scratch, hourly or on demand, kept for ever         |
"""
