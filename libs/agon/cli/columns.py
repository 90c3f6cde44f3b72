"""Tables of plain text for commands whose output may be piped."""

from collections.abc import Collection, Iterable, Sequence


def in_columns(head: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> str:
    """Lines whose columns are as wide as they need to be, never cut or wrapped; those named in `right` hold numbers."""
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        told = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, head, strict=True)
        )
        lines.append("  ".join(told).rstrip())
    return "\n".join(lines)
