"""Closed classes: determiners, prepositions, pronouns, auxiliaries, and the phrases around a request."""

from __future__ import annotations

from itertools import product


def word_set(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


def phrases(text: str) -> list[tuple[str, ...]]:
    """The phrases between "|" as tuples of words, longest first: "in front of" is looked for before "in". "can/could
    you" are two."""
    each = [product(*(word.split("/") for word in phrase.split())) for phrase in text.split("|")]
    return sorted({words for some in each for words in some}, key=lambda words: (-len(words), words))


# --- determiners, numbers, pronouns -----------------------------------------------------------------------------------

INDEFINITE = word_set("a an one another some any every each")
POSSESSIVE = word_set("my our your his her its their")
DEFINITE = word_set("the this that these those") | POSSESSIVE
DETERMINERS = INDEFINITE | DEFINITE
QUANTIFIERS = word_set("both all")
EVERY = word_set("all every each any")
_SMALL = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen twenty"
)
NUMBERS = {word: n for n, word in enumerate(_SMALL.split(), 2)} | {str(n): n for n in range(2, 100)}
ONE_EACH = 8
"""Up to this many things get a subtask each when their exact number is said: "the two cats"."""
VAGUE_ALONE = word_set("some several many few most half dozen various multiple numerous hundred thousand")
VAGUE = VAGUE_ALONE | word_set("couple lot lots number dozens hundreds thousands plenty part parts")
"""Amounts of which nobody knows which things they are; the second ones before "of"."""
ORDINALS = word_set("first second third fourth fifth other last")
PRONOUNS = word_set("it this that them they these those everything something anything nothing all everyone everybody")
PEOPLE_PRONOUNS = word_set("him her he she")
SPEAKERS = word_set("i me we us you he she they myself yourself")
SOMEBODY = {"him": "man", "he": "man", "her": "woman", "she": "woman"}
WHOLE = word_set("whole entire complete full")

# --- small words ------------------------------------------------------------------------------------------------------

PREPOSITIONS = word_set(
    "of in on at to by for with from into onto upon under underneath beneath over above below near beside behind"
    " between inside outside around against along across through off like during among amongst beyond towards toward"
    " atop within past alongside"
)
PLACES = phrases(  # of what is put somewhere
    "above|across|against|along|around|at|at the bottom of|at the top of|atop|behind|below|beneath|beside|between|by|"
    "close to|in|in front of|in the center of|in the centre of|in the middle of|in to|inside|inside of|into|near|"
    "next to|on|on the edge of|on the left of|on the left side of|on the right of|on the right side of|on to|"
    "on top of|onto|outside of|over|to|to the left of|to the right of|under|underneath|upon|alongside"
)
CONJUNCTIONS = word_set("and ,")
RELATIVES = word_set("that which who whose whom")
FORMS_OF_BE = word_set("is are was were be been being am")
FINITE = FORMS_OF_BE | word_set(
    "has have had does do did stands sits lies hangs looks wears holds flies runs leans faces sleeps rides carries"
    " walks grows shows says reads eats plays swims belongs comes goes made wore held stood sat lay hung"
)
MODALS = word_set("should must shall ought could would will might may can")
NEGATIONS = word_set("not no never without nor none neither nobody nothing")
DEGREES = word_set(
    "very more less most slightly really much bit little lot quite extremely super completely totally fully far even"
    " all rather somewhat so way brand"
)
"""Words that go before a quality and say how much of it."""
PARTICLES = word_set("out up down away off together apart")
PLACE_ADVERBS = word_set("there here outside inside upstairs downstairs overhead nearby")
NOT_IN_PHRASES = (
    FORMS_OF_BE | MODALS | NEGATIONS | SPEAKERS | (PEOPLE_PRONOUNS - {"her"}) | RELATIVES
    | word_set(
        "or -> fewer into then please instead except because so if when while whereas than as but why what how"
        " again also just only too let's via per versus vs same different something anything everything nothing"
        " everyone everybody it they them these those whether where does do did has have had"
    )
)  # fmt: skip
"""Words that no plain noun phrase holds; relative clauses may."""
CLOSED = NOT_IN_PHRASES | DETERMINERS | QUANTIFIERS | PREPOSITIONS | CONJUNCTIONS | PRONOUNS | PARTICLES | {"ones"}

# Places in the picture rather than things in it.
POSITIONS = word_set(
    "left right middle centre center corner top bottom side foreground front background distance edge left-hand"
    " right-hand upper lower hand back far leftmost rightmost topmost"
)
PART_OF_NAMES = word_set("front back side hand top")
"""Positions that make another thing of what follows: a front door, a hand towel, a side table, a top hat."""
PICTURE = word_set("picture photo photograph image pic scene shot painting drawing snapshot frame photos pictures")
THE_PICTURE = word_set("picture photo photograph image pic scene shot snapshot photos pictures images")

# --- around a request -------------------------------------------------------------------------------------------------

INTERJECTIONS = "lol|haha|hi|hello|hey|yo|oh|um|uh|uhm|hmm|ah|ok|okay|yes|yeah|please|well|dear|guys"
OPENERS = phrases(
    f"{INTERJECTIONS}|actually|additionally|after that|afterwards|also|alright|and|and then|as a next step|"
    "as for the rest|at the same time|basically|besides|but|can/could i/we/you|could you maybe|will/would you|"
    "would you kindly/mind|"
    "would you be able to|do you mind|do you think you could|feel free to|finally|firstly|furthermore|go ahead and|"
    "help me|help me to|hi/hey there|i feel that|i guess|i think|i think that|i was wondering if you could|"
    "i was wondering if it is possible to|i would love it if you could|if possible|if you can/could|if you do not mind|"
    "in addition|in that case|in this picture|is it possible to|would it be possible to|is there a/any way to|"
    "is there any way you can/could|any chance you can/could|it would be great/nice if you could|kindly|lastly|let us|"
    "let's|make sure to|maybe|meanwhile|moreover|next|now|perhaps|possibly|quickly|really|secondly|shall we|simply|sir|"
    "so|so that|step|the/your task is to|then|thirdly|try to/and|we should|while you are at it|"
    "you can/could/must/should|as a start|do me a favor/favour and|would love/like to|for starters|to start|"
    "to begin with|"
    "for now|here is the thing"
)
CLOSERS = phrases(
    "altogether|as well|can/could/will/would you|cheers|completely|entirely|everywhere|for me/us|if possible|"
    "if you can/could|in the process|many thanks|now|ok|okay|please|somewhere|thank you|thank you so/very much|thanks|"
    "thanks a lot/million|thanks in advance|thanks so much|thx|ty|too|would you mind|right now|asap|somehow|quickly|"
    "or so|"
    "i think/guess|instead|lol|haha|hehe|xd"
)
GREETINGS = word_set(INTERJECTIONS.replace("|", " ")) | word_set(
    "there thanks thank you thx ty cheers so very much good morning afternoon evening day all everyone team quick one"
    " question again great nice awesome cool perfect wow a lot many in advance greetings sup looks bye regards best"
    " kind lol"
    " haha just to be clear i mean for everything"
)
TELLERS = SPEAKERS | word_set("this it these those here there that")
TELLING = word_set(
    "is are was were am love loves like likes took take takes shot made got have had has think hope know enjoy enjoyed"
    " visited went live lives bought saw adore adores found miss misses look looks"
)
"""Words of a remark, which asks for nothing: "my grandma loves lilies"."""
UNSURE = phrases("need help|i need help|not sure|i am not sure|i do not know|do not know|idk")
ASKING = NEGATIONS | MODALS | word_set("want wants wanted need needs prefer prefers wish too please supposed rather")
"""Words that no remark has."""
ONE_DETERMINER = {(word,) for word in DETERMINERS}
PRAISE = word_set("nice great good fine lovely okay ok cool beautiful there perfect pretty cute awesome")
LABELS = word_set("edit task request instruction instructions prompt note step todo")
