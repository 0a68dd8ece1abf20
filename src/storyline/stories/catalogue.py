"""Every kind of story by its name."""

from __future__ import annotations

from storyline.stories.agreements import party, router
from storyline.stories.classics import adding, copy, parity
from storyline.stories.kind import Kind
from storyline.stories.people import john_he

KINDS: dict[str, Kind] = {kind.name: kind for kind in (party, router, john_he, adding, copy, parity)}
