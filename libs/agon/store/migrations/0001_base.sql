-- The two schemas, and what every consumer needs: where it stands in each partition.

CREATE SCHEMA IF NOT EXISTS agon;
CREATE SCHEMA IF NOT EXISTS analytics;

COMMENT ON SCHEMA agon IS 'Written by the services; people read the schema analytics';
COMMENT ON SCHEMA analytics IS 'Views for people: the role analyst reads these and nothing else';

-- The truth about how far a consumer is; Kafka's own commit is a hint. `holder` fences: a batch is stored only by the
-- process that took the partition last, so that a process that was paused and woke up again rolls back.
CREATE TABLE agon.consumer_offsets (
    consumer      text        NOT NULL,
    topic         text        NOT NULL,
    partition     integer     NOT NULL CHECK (partition >= 0),
    next_offset   bigint      NOT NULL CHECK (next_offset >= 0),
    holder        uuid        NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, topic, partition)
);
