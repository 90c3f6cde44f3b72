"""The rules of blind battles, as pure decisions: no I/O, no clock of their own.

| module       | decides                                                                        |
|--------------|--------------------------------------------------------------------------------|
| `active`     | draws by how much a vote would narrow the board's intervals                    |
| `language`, `categories`, `slices` | what a question is, and in which slices its votes count  |
| `sampling`   | how both answers are drawn                                                     |
| `pairing`    | who plays whom, on which side, and with what probability                       |
| `commitment` | what binds a pair before any token exists                                      |
| `battle`     | what may happen next in a battle: a turn, a vote, a reveal                     |
| `tickets`    | who may vote on what, until when                                               |
| `votes`      | one id per (battle, turn, voter)                                               |
| `characters` | where a text may be cut                                                        |
| `pacing`     | when how much of both answers is shown, so that time does not tell who answers |
"""
