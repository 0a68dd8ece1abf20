"""What each recurrent layer can do, ours and torch.nn's: tried on the spot, with a check of the numbers."""

from storyline.capabilities.rows import ROWS
from storyline.capabilities.subject import KINDS, Subject
from storyline.capabilities.table import Result, Table, try_capabilities

__all__ = ["KINDS", "ROWS", "Result", "Subject", "Table", "try_capabilities"]
