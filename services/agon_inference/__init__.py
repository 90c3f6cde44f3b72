"""The worker: takes requests from Kafka, has a backend generate, and writes each token to the request's list.

| module         | what it is                                                                  |
|----------------|-----------------------------------------------------------------------------|
| `app`          | the composition root                                                        |
| `worker`       | the parts put together: started in order, drained, stopped                  |
| `decoding`     | a record becomes a request, or a refusal with its reason                    |
| `taken`        | a record in our hands                                                       |
| `intake`       | deliveries: decoded, claimed at the gate, started, parked or moved aside     |
| `flow`         | how much is read from Kafka                                                 |
| `models`       | backends: loaded and run                                                    |
| `adapters`     | adapters that the registry names: loaded and dropped while it runs          |
| `model_topics` | the topics of a worker's models                                             |
| `held`         | a request of ours: events become entries, the gate's answers judge them      |
| `transcript`   | what a request's list says, and what is left to do                          |
| `writer`       | entries become frames at the gate                                           |
| `completions`  | a transcript that has ended becomes a `GenerationCompleted`                 |
| `ending`       | completions and dead letters reach Kafka before an offset is finished        |
| `watching`     | deadlines, and clients that are gone                                        |
| `control`      | cancellations, the fast path                                                |
| `retrying`     | patience with a Redis or Kafka that is away                                 |
"""
