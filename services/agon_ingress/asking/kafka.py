"""The one way from the ingress onto Kafka. It connects by itself, and again after the broker was away."""

import asyncio
import contextlib
from datetime import timedelta

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from agon.bus.headers import Headers
from agon.errors import TooLarge, Unavailable


class Producer:
    """An idempotent producer with acks from all replicas and no linger. Every call ends within `timeout`.

    `probe` connects, notices a broker that went away, and replaces a producer that broke for good; somebody calls it
    every second.
    """

    def __init__(self, url: str, client_id: str, timeout: timedelta, max_bytes: int) -> None:
        self._url = url
        self._client_id = client_id
        self._timeout = timeout.total_seconds()
        self._max_bytes = max_bytes
        self._client: AIOKafkaProducer | None = None

    async def produce(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        """Returns once Kafka has the record. Raises `Unavailable` when it is not known to have it (it may still arrive
        later, so whoever gives up on a request also sets its cancel mark), `TooLarge` when it never will."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._connected().send_and_wait(topic, value, key=key, partition=partition, headers=list(headers))
        except MessageSizeTooLargeError:
            raise TooLarge(f"the request is larger than Kafka takes: {len(value):,} bytes") from None
        except UnknownTopicOrPartitionError:
            raise Unavailable(f"the Kafka topic {topic} does not exist: run `agon topics apply`") from None
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka did not take the record: {str(error) or 'no answer in time'}") from error

    async def partitions(self, topic: str) -> list[int]:
        """The topic's partitions, ascending. Raises `Unavailable` when it has none or Kafka is away."""
        if known := self._connected().client.cluster.partitions_for_topic(topic):
            return sorted(known)
        try:
            async with asyncio.timeout(self._timeout):
                return sorted(await self._connected().partitions_for(topic))
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka does not know the topic {topic} (yet)") from error

    async def probe(self) -> None:
        """Make sure that a broker answers. Raises `Unavailable` with the reason if none does."""
        if self._client is not None and self._client._sender.sender_task.done():
            await self.stop()  # its sender ends for good on a fatal protocol error
        if self._client is None:
            await self._connect()
        elif not await self._connected().client.force_metadata_update():
            raise Unavailable("no broker answers")

    async def stop(self) -> None:
        """Flush and close, waiting at most the timeout: with the broker away there is nobody to flush to."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(self._timeout):
                    await client.stop()

    async def _connect(self) -> None:
        client = AIOKafkaProducer(
            bootstrap_servers=self._url,
            client_id=self._client_id,
            enable_idempotence=True,
            linger_ms=0,
            max_request_size=self._max_bytes,
            request_timeout_ms=int(self._timeout * 1000),
        )
        try:
            await client.start()
        except BaseException as error:
            await client.stop()
            if isinstance(error, KafkaError):
                raise Unavailable(f"no broker answers at {self._url}") from error
            raise
        self._client = client

    def _connected(self) -> AIOKafkaProducer:
        if self._client is None:
            raise Unavailable("Kafka is away")
        return self._client
