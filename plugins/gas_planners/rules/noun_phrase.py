"""Noun phrases: what may be one, its main noun, its number, and its qualities changed. Words are tuples in the user's
case."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from gas.plan.phrases import singular
from gas_planners.rules import lexicon as lex

Words = tuple[str, ...]
MAX_WORDS = 30


def low(words: Words) -> Words:
    """The words in lower case."""
    return tuple(word.casefold() for word in words)


def starts_with(words: Words, start: Words) -> bool:
    """Whether `words` begin with `start`, in any case."""
    return low(words[: len(start)]) == start


@dataclass(frozen=True)
class Phrase:
    """A noun phrase without its leading determiner. `countable`: one of several, so that it takes "a" or "an"."""

    words: Words
    countable: bool = False

    @property
    def plain(self) -> str:
        """The words with spaces between them: "red car on the left"."""
        return " ".join(self.words).replace(" ,", ",")

    @property
    def text(self) -> str:
        """The phrase as it stands in a prompt: "a red car on the left", "grass", "birds"."""
        return f"{_article(self.words[0])} {self.plain}" if self.countable else self.plain

    @property
    def definite(self) -> str:
        """The phrase as it stands in a request: "the red car", but a name stays as it is."""
        return self.plain if is_name(self.words) else f"the {self.plain}"

    @property
    def head(self) -> str:
        """The main noun, lower case, singular: "car"."""
        return singular(self.words[head_index(self.words)].casefold())


def _article(word: str) -> str:
    lower = word.casefold()
    silent = lower.startswith(("hour", "honest", "heir"))
    spoken = lower.startswith(("uni", "use", "euro", "one", "ufo", "ute", "ukul"))
    return "an" if silent or (lower[:1] in "aeiou" and not spoken) else "a"


def is_name(words: Words) -> bool:
    """Whether it looks like a name: each word with a capital ("Iron Man"), but not all of them in capitals."""
    return all(word[:1].isupper() for word in words) and not all(word.isupper() for word in words)


def is_plural(word: str) -> bool:
    """Whether a noun (lower case) is a plural."""
    if word in lex.PLURAL_ONLY:
        return word not in lex.SINGULAR_TOO
    return singular(word) != word and word not in lex.MASS


def is_adjective(word: str) -> bool:
    """Whether a word is known as a quality, or as more or most of one ("darker", "tallest")."""
    lower = word.casefold()
    if lower.endswith(("-coloured", "-colored", "-shaped")):
        return True
    return lower in lex.ADJECTIVES or _positive(lower) in lex.ADJECTIVES


def _positive(word: str) -> str:
    """ "dark" of "darker", "big" of "biggest", "shiny" of "shinier"; the word itself where there is no such."""
    for ending in ("er", "est"):
        if word.endswith(ending):
            stem = word[: -len(ending)]
            for candidate in (stem, f"{stem}e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem, f"{stem[:-1]}y"):
                if candidate in lex.ADJECTIVES:
                    return candidate
    return word


def head_index(words: Words) -> int:
    """Where the main noun of a phrase without determiner is: the last word before a preposition, clause or
    participle."""
    lower = low(words)
    last = 0
    for i, word in enumerate(lower):
        if i and (word in lex.PREPOSITIONS or word in lex.RELATIVES or word in lex.FINITE):
            break
        if i and word in lex.DETERMINERS:  # "the book the girl is reading"
            break
        if (i and word == ",") or (word == "and" and i and not is_adjective(lower[i - 1])):
            break
        if (
            i
            and is_participle(word)
            and not is_adjective(lower[i - 1])
            and (i + 1 == len(lower) or _opens(lower[i + 1]))
        ):
            break
        last = i
    return last


def is_participle(word: str) -> bool:
    """Whether a word (lower case) looks like "standing" or "covered", which go on about the noun before them."""
    if word in lex.ING_NOUNS:
        return False
    return (word.endswith("ing") and len(word) > 5) or word in lex.STANCES


def _opens(word: str) -> bool:
    return (
        word in lex.PREPOSITIONS
        or word in lex.DETERMINERS
        or word.endswith("ly")
        or word in {"made", "out", "up", "down"}
    )


def split_determiner(words: Words) -> tuple[str, Words]:
    """(determiner in lower case or "", the rest). "the two cats" gives ("two", ("cats",)); "one of the cats" ("one",
    ("cats",))."""
    rest = words
    found = ""
    if starts_with(rest, ("one", "of")) or starts_with(rest, ("each", "of")) or starts_with(rest, ("all", "of")):
        found, rest = rest[0].casefold(), rest[2:]
    if rest and rest[0].casefold() in lex.QUANTIFIERS and len(rest) > 1:
        found, rest = rest[0].casefold(), rest[1:]
        if rest and rest[0].casefold() == "of":
            rest = rest[1:]
    while len(rest) > 1 and rest[0].casefold() in lex.DETERMINERS:
        found = found or rest[0].casefold()
        rest = rest[1:]
    if len(rest) > 1 and rest[0].casefold() in ({"whole", "entire", "more"} if found else {"whole", "entire"}):
        rest = rest[1:]
    return found, rest


def is_phrase(words: Words) -> bool:
    """Whether the words can be one noun phrase: no command in them, no dangling end, no sentence."""
    if not 0 < len(words) <= MAX_WORDS:
        return False
    lower = low(words)
    determiner, rest = split_determiner(words)
    inner = low(rest)
    if determiner and inner in lex.NOUNS_TOO:
        return True
    if not inner or inner[0] in lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.RELATIVES | lex.FINITE | lex.DETERMINERS:
        return False
    if inner[-1] in lex.NEVER_LAST:
        return False
    if (
        inner[0] in lex.PRONOUNS
        or (inner[0] in lex.ADVERBS and len(inner) == 1)
        or not any(c.isalpha() for c in "".join(inner))
    ):
        return False
    if (
        not determiner
        and inner[0] in lex.OTHER_VERBS
        and len(inner) > 1
        and inner[1] in lex.DETERMINERS | lex.PEOPLE_PRONOUNS
    ):
        return False
    return _inside_is_phrase(lower, bool(determiner))


def _inside_is_phrase(lower: Words, determined: bool) -> bool:
    """No finite verb without its clause, no determiner that would begin another phrase, no command after "and"."""
    clause = False  # in a relative clause, where verbs and pronouns belong
    for i, word in enumerate(lower):
        if word in lex.NEVER_INSIDE and i and not (word == "into" and lower[i - 1].endswith("ing")):
            return False
        if word in lex.RELATIVES and i:
            clause = True
        elif (
            (word in lex.NOT_IN_PHRASES and not clause)
            or (word in {"is", "are", "was", "were", "be"} and not clause)
            or (word in lex.MODALS and not clause)
        ):
            return False
        elif word in lex.DETERMINERS and i and not clause:
            before = lower[i - 1]
            if word in {"one", "her"} and i + 1 == len(lower):  # "a blue one", "the man behind her"
                continue
            if before in lex.PREPOSITIONS | lex.CONJUNCTIONS | lex.DETERMINERS | lex.QUANTIFIERS or is_participle(
                before
            ):
                continue
            if not (determined and word not in {"a", "an"}):
                return False
            clause = True  # "the book the girl is reading"
        elif word in lex.CONJUNCTIONS and i + 2 < len(lower):
            opener = lower[i + 1]
            if (opener in lex.VERBS or opener in lex.OTHER_VERBS) and lower[i + 2] in lex.DETERMINERS | lex.PRONOUNS:
                return False
    return True


def phrase(words: Words) -> Phrase:
    """The phrase without its leading determiner, and whether it takes an article."""
    determiner, rest = split_determiner(words)
    lower = low(rest)
    at = head_index(rest)
    head = lower[at]
    if determiner in {"one", "each"} and is_plural(head):  # "one of the apples"
        rest = (*rest[:at], singular(head), *rest[at + 1 :])
        head = singular(head)
    single = not is_plural(head)
    if lower[0] in lex.NUMBERS or lower[0] in {"some", "several", "many", "few"}:
        return Phrase(rest, countable=lower[0] == "few" and determiner == "a")
    if is_name(rest) and determiner not in {"a", "an"}:
        return Phrase(rest)
    if determiner in {"a", "an", "one", "another", "every", "each"}:
        return Phrase(rest, countable=single or determiner in {"a", "an"})
    if (
        " and " in f" {' '.join(lower[: head_index(rest) + 3])} "
        and head_index(rest) + 1 < len(lower)
        and lower[head_index(rest) + 1] == "and"
    ):
        return Phrase(rest, countable=bool(determiner) and single and head not in lex.MASS)
    return Phrase(rest, countable=bool(determiner) and determiner != "some" and single and head not in lex.MASS)


def how_many(words: Words) -> tuple[int, Words]:
    """(how often the phrase is meant, the words for one of them): "both cats" → (2, a cat), "the red car" → (1, as it
    is)."""
    determiner, rest = split_determiner(words)
    number = 0
    if determiner == "both":
        number = 2
        if rest and rest[0].casefold() in lex.DETERMINERS:
            rest = rest[1:]
    elif rest and rest[0].casefold() in lex.NUMBERS and len(rest) > 1:
        number, rest = lex.NUMBERS[rest[0].casefold()], rest[1:]
    if number < 2:
        return 1, words
    at = head_index(rest)
    if not is_plural(rest[at].casefold()):
        return 1, words
    one = singular(rest[at].casefold())
    one = one.upper() if rest[at].isupper() else one
    return number, ("a", *rest[:at], one, *rest[at + 1 :])


def coordinates(words: Words, *, loose: bool = False) -> list[Words]:
    """The phrases of a list ("the car and the truck"), or the words as the one phrase that they are ("the cup and
    saucer").

    A list has a determiner for each of its members, or for none (`loose`: or for the first); "its reflection" belongs
    to what stands before it.
    """
    lower = low(words)
    parts: list[Words] = []
    begin = 0
    for i, word in enumerate(lower):
        if word in lex.CONJUNCTIONS:
            if i > begin:
                parts.append(words[begin:i])
            begin = i + 1
    parts.append(words[begin:])
    if len(parts) < 2 or not all(is_phrase(part) for part in parts):
        return [words]
    firsts = [part[0].casefold() for part in parts]
    if any(first in {"its", "his", "her", "their"} for first in firsts[1:]):
        return [words]
    determined = [first in lex.DETERMINERS or first in lex.QUANTIFIERS for first in firsts]
    if firsts[0] in {"a", "an"}:  # "a beard and glasses": what has no singular needs no article
        determined = [d or is_plural(p[-1].casefold()) for d, p in zip(determined, parts, strict=True)]
    if not all(determined) and any(determined) and not loose:
        return [words]
    if any(is_adjective(part[-1]) for part in parts):
        return [words]
    if _between(words) or any(_belongs(a, b) for a, b in pairwise(parts)):
        return [words]
    return [words] if not any(determined) and is_pair(parts[0], parts[1]) else parts


def is_pair(first: Words, second: Words) -> bool:
    """Whether two nouns are known as one thing ("salt and pepper")."""
    return frozenset((first[-1].casefold(), second[0].casefold())) in lex.PAIRS


def _between(words: Words) -> bool:
    return "between" in low(words)


def _belongs(first: Words, second: Words) -> bool:
    """Whether `second` goes on with what `first` ends with: "a man with a hat" and "a beard"."""
    lower = low(first)
    attached = [
        i for i, word in enumerate(lower) if word in {"with", "wearing", "holding", "carrying", "of", "between"}
    ]
    if not attached or attached[-1] + 1 >= len(lower):
        return False
    return (lower[attached[-1] + 1] in lex.INDEFINITE) == (second[0].casefold() in lex.INDEFINITE) and (
        lower[attached[-1] + 1] in lex.INDEFINITE or lower[0] not in lex.DEFINITE
    )


def quality_start(words: Words) -> int | None:
    """Where a run of qualities at the end of `words` begins ("light grey" of "the walls light grey"); None: there is
    none.

    What stands before it must be a phrase with a noun of its own.
    """
    lower = low(words)
    i = len(lower)
    best = None
    while i > 1:
        word = lower[i - 1]
        connects = word in {"and", ",", "but"}
        quality = is_adjective(word) or (i < len(lower) and (word in lex.SHADES or word in lex.ADVERBS))
        if not quality and not (connects and i < len(lower)):
            break
        i -= 1
        before = words[:i]
        if not connects and is_phrase(before) and not (is_adjective(lower[i - 1]) and not _noun_too(lower[i - 1])):
            best = i
    return best


def _noun_too(word: str) -> bool:
    return word in {"light", "glass", "orange", "gold", "silver", "wood", "stone", "brick", "metal", "ice", "night",
     "evening",
                    "sunset", "iron", "steel", "square", "rose", "old", "tan", "giant", "baby", "leather", "paper",
                    "marble"}  # fmt: skip


def are_qualities(words: Words) -> bool:
    """Whether all of the words are qualities: "dark blue", "black and white", "shiny"."""
    lower = low(words)
    if not lower or not is_adjective(lower[-1]):
        return False
    return all(is_adjective(w) or w in lex.SHADES or w in lex.ADVERBS or w in {"and", ",", "but"} for w in lower)


def with_quality(words: Words, qualities: Words) -> Words:
    """The phrase (without determiner) with other qualities: ("red", "car") and ("blue",) give ("blue", "car").

    A quality of the same kind is replaced; a new colour stands after age and size, other new ones stand first.
    """
    lower = low(words)
    head = head_index(words)
    start = 0
    for i, word in enumerate(lower[:head]):
        if word.endswith(("'s", "s'")):
            start = i + 1
    changing = kinds(qualities)
    before = list(words[start:head])
    kept = [word for i, word in enumerate(before) if not _goes(low(tuple(before)), i, changing)]
    while kept and kept[0].casefold() in {"and", ","}:
        kept.pop(0)
    at = 0
    if "colour" in changing:
        while at < len(kept) and _before_colour(kept[at].casefold()):
            at += 1
    return (*words[:start], *kept[:at], *qualities, *kept[at:], *words[head:])


def _before_colour(word: str) -> bool:
    return (
        word in lex.BEFORE_COLOUR
        or word in lex.ORDINALS | lex.POSITIONS
        or word.endswith("est")
        or word in {"leftmost", "rightmost"}
    )


def kinds(qualities: Words) -> set[str]:
    """What sorts of quality there are among the words: colour, size, age, material and so on."""
    return {kind for word in low(qualities) if (kind := _kind(word)) is not None}


def _kind(word: str) -> str | None:
    word = word if word in lex.COLOURS or word in lex.CLASS_OF else _positive(word)
    return "colour" if word in lex.COLOURS else lex.CLASS_OF.get(word)


def _goes(before: Words, i: int, changing: set[str]) -> bool:
    """Whether the quality at `i` is replaced: it is of one of the kinds, or a shade or an "and" that belongs to such a
    one."""
    word = before[i]
    if _kind(word) in changing:
        return True
    if word in lex.SHADES or word in lex.ADVERBS or word in {"and", ","}:
        following = next((w for w in before[i + 1 :] if w not in {"and", ","}), None)
        return following is not None and _kind(following) in changing
    return False
