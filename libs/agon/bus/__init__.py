"""Kafka: what every service that reads or writes records shares.

| module         | what it is                                                         |
|----------------|--------------------------------------------------------------------|
| `clients`      | producers, and what a record is                                    |
| `broker`       | FastStream with the settings that lose nothing                     |
| `in_flight`    | which deliveries are unfinished, and what may therefore be committed |
| `dead_letters` | records that nobody can read, moved aside                          |
| `topic_admin`  | topics as `infra/kafka/topics.yaml` declares them                  |
| `headers`      | CloudEvents and trace context                                      |
| `batches`      | consuming for services that store their offsets in Postgres        |
"""
