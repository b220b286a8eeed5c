"""The rows of one statement, page by page, as one consistent view.

What fits into a page needs one statement and nothing else, and that is nearly always so. More is read within one
transaction on a connection of its own, which keeps its snapshot until it is closed: bounding by the highest number
would do against writers, but a deletion between two pages would tear a hole. (J-65, J-66)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from ._connection import Database
from ._rows import Row


async def view(
    database: Database, select: str, parameters: tuple[Any, ...], max_count: int, page_size: int
) -> AsyncGenerator[Sequence[Row], None]:
    """Pages of rows. `select` takes the parameters, and then how many rows it gives at most."""
    first = min(max_count, page_size + 1)
    rows: Sequence[Row] = await database.read(lambda connection: connection.fetch(select, *parameters, first))
    if len(rows) <= page_size:
        yield rows
        return
    async with database.held() as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor = await connection.cursor(select, *parameters, max_count)
        while rows := await cursor.fetch(page_size):
            yield rows
