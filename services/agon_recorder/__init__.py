"""Ended requests and model cards, from Kafka into Postgres, exactly once.

| module      | what it is                             |
|-------------|----------------------------------------|
| `app`       | the composition root                   |
| `recording` | what is read, and where it is stored   |
"""
