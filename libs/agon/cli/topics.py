"""`agon topics apply`: the topics of an existing Kafka."""

import asyncio

import click


@click.group()
def topics() -> None:
    """Set up the topics of the Kafka at AGON_KAFKA_URL.

    \b
    Example:
      AGON_KAFKA_URL=kafka:9092 agon topics apply
    """


@topics.command()
def apply() -> None:
    """Create missing topics and add missing partitions; change and delete nothing else. Safe to repeat.

    \b
    Example:
      AGON_KAFKA_URL=kafka:9092 agon topics apply
    """
    from agon.bus import topic_admin
    from agon.settings import Settings
    from agon.telemetry import configure_logging

    configure_logging("agon", "WARNING")
    settings = Settings.load()
    report = asyncio.run(topic_admin.apply(settings.kafka_url, settings.topic_prefix))
    for name in report.created:
        click.echo(f"created {name}")
    for name, before, now in report.grown:
        click.echo(f"{name}: {before} -> {now} partitions")
    click.echo(f"{len(report.unchanged)} were right already")
