"""Noun phrases: one parser for what may be one, its main noun, its number, and lists of them.

Each word gets a letter for its class (`_letter`), and a phrase is what one regular expression over the letters says:
words of the closed classes stand only where it has them. Words are tuples in the user's case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from gas.plan.phrases import singular
from gas_planners.rules import lexicon as lex
from gas_planners.rules.qualities import classes, is_adjective, is_degree, is_pure_adjective, is_shade, kinds
from gas_planners.rules.tokens import SYMBOL, Words, is_literal, low

MAX_WORDS = 30
Count = Literal["all"] | int


@dataclass(frozen=True)
class Phrase:
    """A noun phrase without its leading determiner. `countable`: one of several, so that it takes "a" or "an";
    `count`: how many things of the picture it means, None for one, or where its words do not say."""

    words: Words
    countable: bool = False
    count: Count | None = None

    @property
    def plain(self) -> str:
        """The words with spaces between them: "red car on the left"."""
        return " ".join(self.words).replace(" ,", ",")

    @property
    def text(self) -> str:
        """The phrase as it stands in a prompt: "a red car on the left", "grass", "birds"."""
        countable = self.countable and self.words[0].casefold() != "other"
        return f"{_article(self.words[0])} {self.plain}" if countable else self.plain

    @property
    def definite(self) -> str:
        """The phrase as it stands in a request: "the red car", "all the cars", but a name stays as it is."""
        if self.count is not None:
            every = "all the" if is_plural(self.words[head_index(self.words)].casefold()) else "every"
            return f"{every if self.count == 'all' else f'{self.count} of the'} {self.plain}"
        owned = self.words[0][:1].isupper() and any(word.endswith("'s") for word in self.words)  # Mr. Bean's car
        return self.plain if owned or is_name(self.words) else f"the {self.plain}"

    @property
    def head(self) -> str:
        """The main noun, lower case, singular: "car"."""
        return singular(self.words[head_index(self.words)].casefold())


def _article(word: str) -> str:
    lower = word.casefold()
    silent = lower.startswith(("hour", "honest", "heir"))
    spoken = lower.startswith(("uni", "use", "euro", "one", "ufo", "ute", "ukul", "u."))
    return "an" if silent or (lower[:1] in "aeiou" and not spoken) else "a"


def is_name(words: Words) -> bool:
    """Whether it looks like a name: each word with a capital ("Iron Man"), but not all of them in capitals; or a
    quotation."""
    if any(is_literal(word) for word in words):
        return len(words) == 1
    return all(word[:1].isupper() for word in words) and not all(word.isupper() for word in words)


def is_plural(word: str) -> bool:
    """Whether a noun (lower case) is a plural."""
    if word in lex.PLURAL_ONLY:
        return word not in lex.SINGULAR_TOO
    return not is_literal(word) and singular(word) != word and word not in lex.MASS


def is_participle(word: str) -> bool:
    """Whether a word (lower case) looks like "standing" or "covered", which go on about the noun before them."""
    return word not in lex.ING_NOUNS and ((word.endswith("ing") and len(word) > 5) or word in lex.STANCES)


# --- the parser -------------------------------------------------------------------------------------------------------

# i a, every   d the, my   q all, both   w whole   # two   b several   g very   a wooden   A red   m glass   M orange
# n other words   v standing   o one   c and   k ,   h with, of   j in   B between   p on   t away   l there   u it
# r which   x what no phrase holds
_DETERMINER = r"(?:[qi#]hd#?|qd?|dw?|i)?"
_RUN = r"(?:[aAmMnv#]|g(?=[gaAmMnv])|(?<=[aAmM])(?:k?c|k)(?=g*[aAmM])|(?<![^idq])b)*(?:[mMno]|b(?=h))"
_THING = rf"{_DETERMINER}{_RUN}"
_LIST = rf"(?:i{_RUN}(?:[ck]+i?{_RUN})*|{_THING}(?:[ck]+{_RUN}(?![ck]*[id]))*)"
_HELD = rf"(?:u|{_LIST})"
_PLACE = rf"[hj][AM]+(?![aAmMnv])|B{_THING}c{_THING}|(?:[pj][ph]?|h){_HELD}"
_MORE = rf"(?:{_PLACE}|g*v[tgl]*(?:{_HELD})?|l)*"
_MEMBER = re.compile(rf"(?P<determiner>{_DETERMINER})(?P<run>{_RUN}){_MORE}")
_LINK = re.compile(r"k?c|k")


@dataclass(frozen=True)
class _Member:
    """One member of a phrase: where it and its words after the determiner begin, its noun, and where it ends."""

    begin: int
    start: int
    head: int
    end: int
    determiner: str


@lru_cache(maxsize=8192)
def _letters(lower: Words) -> str:
    out = ""
    for i in range(len(lower)):
        out += _letter(lower, i, out)
    return out


def _letter(lower: Words, i: int, before: str) -> str:
    """The class of a word; `before` are the letters of the words before it."""
    word, last = lower[i], before[-1:]
    after = lower[i + 1] if i + 1 < len(lower) else ""
    if word in {"one", "ones"} and (last not in ("", "c", "k", "h", "p", "j", "q") or word == "ones"):
        return "o"
    if last in ("p", "h", "j", "v") and word in _OBJECTS and not _is_open(after):
        return "u"
    if word in lex.RELATIVES and (word != "that" or after in lex.FINITE):
        return "r"
    for letter, words in _LETTERS:
        if word in words:
            return letter
    if word in lex.WHOLE and last == "d":
        return "w"
    if word == "more" and _is_open(after) and not is_adjective(after):
        return "i"
    if word in {"next", "close"} and after == "to":
        return "p"
    if word in lex.PREPOSITIONS:
        moving = word in {"into", "onto"} and last != "v"
        return "x" if moving else "h" if word in _HOLDING else "p"
    if word.isdigit():
        return "n" if lower[i - 1 : i] == ("number",) or (len(word) == 4 and last == "p") else "#"
    if not _is_open(word) and not (word == "can" and last in ("n", "d")):
        return "b" if word in lex.VAGUE else "x"
    return _open_letter(lower, i, last, after)


_OBJECTS = frozenset({"it", "him", "her", "them", "us", "me", "you", "this", "that"})
_HOLDING = frozenset({"with", "of", "like"})
_LETTERS = (
    ("i", lex.INDEFINITE), ("d", lex.DEFINITE), ("q", lex.QUANTIFIERS), ("c", {"and"}), ("k", {","}),
    ("B", {"between"}), ("j", {"in"}), ("t", lex.PARTICLES), ("l", lex.PLACE_ADVERBS),
)  # fmt: skip


def _is_open(word: str) -> bool:
    """Whether a word may be part of a name for a thing."""
    known = word in lex.CLOSED or word in lex.VAGUE or word.startswith(SYMBOL) or "/" in word
    return not known and any(c.isalnum() for c in word)


def _open_letter(lower: Words, i: int, last: str, after: str) -> str:
    word = lower[i]
    if is_literal(word) and last == "n":
        return "l"  # the words "for sale"
    if word == "full" and after == "of" and last == "n":
        return "v"  # a plate full of cookies
    if word in lex.NUMBERS:
        return "#"
    if is_degree(word) and word not in lex.ADJECTIVES and word != "little":
        return "g"
    colour = "colour" in classes(word)
    if is_pure_adjective(word):
        return "A" if colour else "v" if is_participle(word) else "a"
    if is_adjective(word):
        # "the chair orange" is no orange, "the jacket denim" no denim; but "the wine glass" is one.
        noun = last == "n" and not lower[i - 1].endswith(("'s", "s'")) and not is_shade(lower, i - 1)
        if noun and word not in lex.AFTER_NOUNS and kinds((word,)) & {"colour", "material"}:
            return "A" if colour else "a"
        return "M" if colour else "m"
    passive = word.endswith("ed") and after in lex.PREPOSITIONS
    return "v" if is_participle(word) or (passive and last) else "n"


@lru_cache(maxsize=8192)
def _members(lower: Words) -> tuple[_Member, ...]:
    """The members of the phrase that all of the words are; () where they are none."""
    if not 0 < len(lower) <= MAX_WORDS:
        return ()
    letters, found, i = _letters(lower), list[_Member](), 0
    while True:
        member = _member(lower, letters, i)
        if member is None:
            return ()
        found.append(member)
        link = _LINK.match(letters, member.end)
        if link is None:
            break
        i = link.end()
    return tuple(found) if found[-1].end == len(lower) and _is_list(lower, letters, found) else ()


def _member(lower: Words, letters: str, i: int) -> _Member | None:
    match = _MEMBER.match(letters, i)
    if match is None or (not match["determiner"] and _is_command(lower, i)):
        return None
    start, head, end = match.start("run"), match.end("run") - 1, match.end()
    if head == start and not match["determiner"] and lower[head] in lex.PARTICIPLES:  # "replaced with sausages"
        return None
    if end < len(lower) and (letters[end] == "r" or (match["determiner"] and _is_contact_clause(lower, end))):
        end = len(lower) if _is_clause(lower[end + 1 :]) else end
    return _Member(i, start, head, end, lower[i] if match["determiner"] else "")


def _is_command(lower: Words, i: int) -> bool:
    """Whether a command begins here rather than a thing: "a cat and remove the dog"."""
    known = lower[i] in lex.VERBS or lower[i] in lex.OTHER_VERBS
    return known and i + 1 < len(lower) and lower[i + 1] in lex.DETERMINERS | lex.PRONOUNS


def _is_list(lower: Words, letters: str, members: list[_Member]) -> bool:
    """Whether members go together: not "a pirate and the girl", "a cat, masterpiece, 8k", "a sofa, a red one"."""
    if len(members) == 1:
        return lower[0] != "half"
    first, rest = members[0], members[1:]
    mixed = {"a", "the"} <= {"a" if m.determiner == "an" else m.determiner for m in members}
    verbs = any(lower[m.begin] in lex.VERBS or lower[m.begin] in lex.OTHER_VERBS for m in rest) and first.determiner
    return not mixed and not verbs and letters[rest[-1].begin - 1] == "c" and letters[rest[-1].head] != "o"


def _is_contact_clause(lower: Words, i: int) -> bool:
    """Whether "the girl is reading" begins here."""
    starts = lower[i] in (lex.DETERMINERS - {"a", "an"}) | lex.SPEAKERS
    return starts and any(word in lex.FINITE or word.endswith("s") for word in lower[i + 1 : i + 6])


def _is_clause(rest: Words) -> bool:
    """Whether the words go on as a relative clause: a verb is among them, and nothing that begins another part."""
    stops = {"->", "then", "into", "instead", "please", ","} | lex.NEGATIONS | lex.MODALS - {"can"}
    return any(w in lex.FINITE or w.endswith(("s", "ed")) for w in rest) and not any(w in stops for w in rest)


# --- what others ask --------------------------------------------------------------------------------------------------


def is_phrase(words: Words) -> bool:
    """Whether the words are one noun phrase, or a list of such."""
    return bool(_members(low(words)))


def split_determiner(words: Words) -> tuple[str, Words]:
    """(determiner in lower case or "", the rest). "one of the cats" gives ("one", ("cats",))."""
    lower = low(words)
    members = _members(lower)
    if members:
        return members[0].determiner, words[members[0].start :]
    bare = next((i for i, word in enumerate(lower) if word not in lex.DETERMINERS | lex.QUANTIFIERS), len(words) - 1)
    return (lower[0] if bare > 0 else ""), words[max(bare, 0) :]


def head_index(words: Words) -> int:
    """Where the main noun of a phrase without determiner is."""
    lower = low(words)
    match = _MEMBER.match(_letters(lower))
    return match.end("run") - 1 if match is not None and not match["determiner"] else len(words) - 1


def phrase(words: Words) -> Phrase:
    """The phrase without its leading determiner, whether it takes an article, and how many things it means."""
    determiner, rest = split_determiner(words)
    at = head_index(rest)
    head = rest[at].casefold()
    if determiner in {"one", "each"} and is_plural(head) and head not in lex.ONE_THING:  # "one of the apples"
        one = singular(head)
        rest, head = (*rest[:at], one.upper() if rest[at].isupper() else one, *rest[at + 1 :]), one
    plural, first = is_plural(head), rest[0].casefold()
    count: Count | None = 2 if determiner == "both" else lex.NUMBERS.get(determiner)
    which = first in lex.ORDINALS or first == "remaining"
    if which and len(rest) > 2 and rest[1].casefold() in lex.NUMBERS:  # "the other two chairs"
        count, rest = lex.NUMBERS[rest[1].casefold()], (rest[0], *rest[2:])
    counted = first in lex.NUMBERS or is_vague(rest)
    several = plural and not counted and head not in lex.ONE_THING and determiner not in {"a", "an", "one"}
    if count is None and (several or determiner in lex.EVERY) and head not in lex.MASS:
        count = "all"
    if counted and determiner not in {"a", "an"}:
        return Phrase(rest, count=count)
    if is_name(rest) and determiner not in {"a", "an", "every", "each"}:
        return Phrase(rest, count=None if count == "all" and not determiner else count)
    if determiner in {"a", "an", "one", "another", "every", "each"}:
        return Phrase(rest, not plural or determiner in {"a", "an"}, count)
    return Phrase(rest, bool(determiner) and determiner != "some" and not plural and head not in lex.MASS, count)


def how_many(words: Words) -> tuple[int, Words]:
    """(how often the phrase is meant, the words for one of them): "both cats" → (2, a cat), "the red car" → (1, as it
    is). Numbers beyond ONE_EACH, and those of a part ("two of the cats"), stay a count of one phrase."""
    determiner, rest = split_determiner(words)
    number = 2 if determiner == "both" else 0
    if not number and len(rest) > 1 and rest[0].casefold() in lex.NUMBERS and determiner not in {"one", "each"}:
        number, rest = lex.NUMBERS[rest[0].casefold()], rest[1:]
    at = head_index(rest)
    if number > lex.ONE_EACH:
        return 1, (str(number), "of", "the", *rest)
    if number < 2 or not is_plural(rest[at].casefold()):
        return 1, words
    one = singular(rest[at].casefold())
    article = () if one == rest[at].casefold() else ("a",)
    return number, (*article, *rest[:at], one.upper() if rest[at].isupper() else one, *rest[at + 1 :])


_FRACTIONS = {"third", "quarter", "fifth"}


def is_vague(words: Words) -> bool:
    """Whether nobody knows which things are meant: "some of the apples", "a few trees", "half of the tulips"."""
    determiner, rest = split_determiner(words)
    lower = low(rest)
    many = lower[:1] and (lower[0] in lex.VAGUE_ALONE or (lower[0] in lex.VAGUE and lower[1:2] == ("of",)))
    return bool(many) or determiner == "some" or (lower[0] in _FRACTIONS and lower[1:2] == ("of",))


# --- lists ------------------------------------------------------------------------------------------------------------


def coordinates(words: Words, *, loose: bool = False) -> list[Words]:
    """The phrases of a list ("the car and the truck"), or the words as the one phrase that they are ("the cup and
    saucer").

    A list has a determiner for each of its members, or for none (`loose`: or for the first); "its reflection" belongs
    to what stands before it.
    """
    members = _members(low(words))
    parts = [words[m.begin : m.end] for m in members]
    if len(members) < 2 or any(m.determiner in {"its", "their"} for m in members[1:]):
        return [words]
    determined = [
        bool(m.determiner) or part[0].casefold() in lex.NUMBERS for m, part in zip(members, parts, strict=True)
    ]
    if members[0].determiner in lex.INDEFINITE:  # "a beard and glasses": what has no singular needs no article
        determined = [d or _needs_no_article(words[m.head]) for d, m in zip(determined, members, strict=True)]
    if not all(determined) and any(determined) and not loose:
        return _sharing(words, members)
    if any(_belongs(words, a, b) for a, b in pairwise(members)):
        return [words]
    return [words] if not any(determined) and is_pair(parts[0], parts[1]) else parts


def _sharing(words: Words, members: tuple[_Member, ...]) -> list[Words]:
    """ "the dog, cat and bird" as three phrases with the determiner of the first; anything else as it is."""
    first, rest = members[0], members[1:]
    bare = all(not m.determiner and m.end - m.begin <= 2 for m in rest)
    parts = [words[m.begin : m.end] for m in members]
    plain = first.determiner in lex.DEFINITE and first.end == first.head + 1 and bare
    if not plain or is_pair(parts[0], parts[1]):
        return [words]
    return [parts[0], *((words[0], *part) for part in parts[1:])]


def _needs_no_article(noun: str) -> bool:
    return is_plural(noun.casefold()) or noun.casefold() in lex.MASS


def _belongs(words: Words, first: _Member, second: _Member) -> bool:
    """Whether `second` goes on with what `first` ends with: "a man with a hat" and "a beard"."""
    lower = low(words[first.begin : first.end])
    held = [i for i, w in enumerate(lower[:-1]) if w in _HOLDING or w in {"wearing", "holding", "carrying", "between"}]
    if not held or first.determiner in lex.DEFINITE:
        return False
    return (lower[held[-1] + 1] in lex.INDEFINITE) == (second.determiner in lex.INDEFINITE)


def is_pair(first: Words, second: Words) -> bool:
    """Whether two nouns are known as one thing ("salt and pepper")."""
    return frozenset((first[-1].casefold(), second[0].casefold())) in lex.PAIRS


# --- other qualities --------------------------------------------------------------------------------------------------


def with_quality(words: Words, qualities: Words) -> Words:
    """The phrase (without determiner) with other qualities: ("red", "car") and ("blue",) give ("blue", "car").

    A quality of the same class is replaced; a new colour stands after age and size, other new ones stand first.
    """
    lower = low(words)
    head = head_index(words)
    owner = max((i + 1 for i, word in enumerate(lower[:head]) if word.endswith(("'s", "s'"))), default=0)
    changing = kinds(qualities)
    before = lower[owner:head]
    kept = [words[owner + i] for i in range(len(before)) if not _goes(before, i, changing)]
    at = 0
    if "colour" in changing:
        while at < len(kept) and (kept[at].casefold() in lex.BEFORE_COLOUR or kept[at].casefold().endswith("est")):
            at += 1
        if at == len(kept) and kept and kept[-1].casefold() in lex.PART_OF_NAMES:
            at -= 1  # a "front door" is a kind of door, and "left" in "the left door" is not
    return (*words[:owner], *kept[:at], *qualities, *kept[at:], *words[head:])


def _goes(before: Words, i: int, changing: set[str]) -> bool:
    """Whether the quality at `i` is replaced: it is of one of the classes, or a shade, a degree or an "and" that
    belongs to such a one."""
    word = before[i]
    if classes(word) & changing:
        return True
    if is_shade(before, i) or is_degree(word) or word in {"and", ","}:
        following = next((w for w in before[i + 1 :] if w not in {"and", ","}), "")
        return bool(classes(following) & changing)
    return False
