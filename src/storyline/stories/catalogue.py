"""Every kind of story by its name."""

from __future__ import annotations

from storyline.stories.agreements import filing, party, router
from storyline.stories.classics import adding, parity, temporal_order
from storyline.stories.kind import Kind
from storyline.stories.patterns import card, theme
from storyline.stories.people import anna, breakfast, france, john_he
from storyline.stories.recall import associative_recall, copy, selective_copy
from storyline.stories.sentences import books, cake, chase, clouds
from storyline.stories.sentiment import but_then

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(
            party,
            router,
            filing,
            france,
            clouds,
            chase,
            books,
            cake,
            anna,
            but_then,
            john_he,
            breakfast,
            theme,
            card,
        ),
        *(adding, temporal_order, copy, selective_copy, parity, associative_recall),
    )
}
