"""The words that the rules planner knows.

Closed classes (`closed`, `verbs`) hold the words that carry a sentence's structure: each is read where a rule wants
it, and nowhere else. Every other word is open: it may name a thing. `qualities` and `things` say more about some of the
open words, where a rule has to know.
"""

from gas_planners.rules.lexicon.closed import *  # noqa: F403
from gas_planners.rules.lexicon.qualities import *  # noqa: F403
from gas_planners.rules.lexicon.things import *  # noqa: F403
from gas_planners.rules.lexicon.verbs import *  # noqa: F403
