"""Votes, from Kafka into Postgres and the ledger, judged, numbered, exactly once, and out again in order.

| module    | what it is                                              |
|-----------|---------------------------------------------------------|
| `app`     | the composition root                                    |
| `judging` | whether a vote counts, and if not why: a pure decision  |
| `intake`  | a batch of votes in one transaction                     |
| `relay`   | judged votes onto Kafka, in the order of their numbers  |
"""
