"""The worker: takes requests from Kafka, has a backend generate, and writes each token to the request's list.

| module         | what it is                                                                      |
|----------------|---------------------------------------------------------------------------------|
| `app`          | the composition root                                                            |
| `decoding`     | a record becomes a request, or a refusal with its reason                        |
| `transcript`   | what is known of a request's answer: its frames, and what follows from them      |
| `completions`  | a transcript that has ended becomes a `GenerationCompleted`                     |
| `held`         | the requests in this worker's hands                                             |
| `intake`       | deliveries: decoded, claimed at the gate, started, parked or moved aside         |
| `writer`       | events of backends become frames at the gate; its answers decide who goes on    |
| `ending`       | ended requests: completion, `done`, offset                                      |
| `watching`     | deadlines, clients that are gone, load                                          |
| `models`       | backends: loaded, registered, run                                               |
| `worker`       | how all of these start and stop                                                 |
"""
