"""All the forms of a clause, as rules (`gas_planners.rules.rewriting`): other words on the left, plainer ones or a form
on the right. What no rule reads is refused."""

from __future__ import annotations

from gas_planners.rules import forms, scenes
from gas_planners.rules import lexicon as lex
from gas_planners.rules.items import Context, Reading
from gas_planners.rules.looks import look_reading
from gas_planners.rules.noun_phrase import is_phrase
from gas_planners.rules.rewriting import Rules
from gas_planners.rules.tokens import Words, low

_MODAL = "could|can|should|would|may|might|shall|must|will"
_PAST = "|".join(lex.IN_THE_PAST)
_DONE = "|".join(lex.PARTICIPLES)
_POSE = "|".join(lex.POSES)
_GONE = "disappear|vanish|go|gone|invisible|removed|deleted|erased|leave"
_HAVE = "have|wear|hold|carry|wearing|holding|carrying"
_GOOD = "better|good|nice|great|cool|nicer|best"
_LOOK = "look|looks|appear|seem|resemble|be|become"
_TURN = (
    "make|turn|render|convert|change|transform|paint|draw|redraw|show|restyle|set|put|recreate|reimagine|style|let|have"
)
_FEEL = "look|feel|seem|appear"
_AIR = "look|feel|vibe|mood|atmosphere|effect|filter|style|aesthetic|glow|tint|tone|touch|finish"

_RULES = f"""
other orders of words
P A [,] {{add}} X => V X P A
with B {{swap}} A => V A with B
A , X it|them Y => X A Y
A , X it|them => X A
A is|are too Q , X it|them Y => X A Y
A is|are too Q , X it|them => X A
{{make}} Q D => V D Q
X if you|we could|would|can Y => Y

the whole picture, written as § and, where it is called "it", as § it
in [the] style of X => § in the style of X
in X style => § in X style
X style => @bare-style X
Q look|vibe|mood|atmosphere => § with Q look
as if|though X => § it look as if X
as X => § it into X
{_TURN} T into|to U => § into U
{_TURN} the season|lighting|light|mood|atmosphere|weather to|into T => § into T
{_TURN} the style|look|aesthetic|theme [of] to|into X => § in X style
{_TURN} the style|look|aesthetic|theme of S to|into X => § in X style
add|apply|use X {_AIR} [to] S => § with X look
add|apply|use X look|feel|vibe|mood|atmosphere|effect|filter => § with X look
give S X {_AIR} => § with X look
give I X {_AIR} => § with X look
{_TURN} S X => § X
{_TURN} I X => § it X
S should X => § X
I should X => § it X
§ [it] [{_FEEL}] [like] [to] [into] in [the] style of X => @style-of X
§ [it] [to] [into] in X style => @style X
§ [it] X style => @bare-style X
§ [it] with X look => @with-look X
§ [it] {_FEEL} as if|though X => @like as if X
§ [it] {_FEEL} like|as it is|was|were X => @like X
§ [it] {_FEEL} like|as [it] [is] [in] X => @scene X
§ [{_FEEL}] [be] [more] Q => @picture Q
§ it [{_FEEL}] [be] [more] Q => @picture-it Q
§ [it] [be|become] [in] T => @scene T
§ [it] into|to T => @scene T
§ into|to|as|like|be|become X => @becomes X
§ it into|to|as|like|be|become X => @becomes-it X
§ it X => @becomes-it X

what is not wanted, and what is wanted instead
no|without [more] A => remove A
let there be no X => remove X
we|i could|can do without A => remove A
show|make|leave|turn A without X => remove X from A
we|i|she|he do|does not want|need [to] [see] [any|a|an] X => remove X
we|i|she|he do|does not like X => @topic X
we|i hate|dislike X => @topic X
do not change|touch|alter|modify|edit|affect X => @nothing
nothing|everything else X => @nothing
never mind X => @nothing
A stay|stays|remain|remains => @nothing
B would|should|might be {_GOOD} => @rather B
want|prefer|like B than A => change A into B
{{add}} X in its|his|her|their place|stead => @in-its-place X
{{add}} X instead|there => @in-its-place X
{{add|let|give}} X instead of Y => X instead of Y
see|want|prefer|like X instead of Y => X instead of Y
X instead of Q => @not-so X Q
B instead of A => @change A B instead
instead of A i|we want|need|prefer|see X => X instead of A
instead of A , X => X instead of A

how it should be
{_MODAL} we|i|you have X => add X
{_MODAL} there be X => add X
what would it|this|that look like if X => what if X
what if it|this|that were|was|is X => @weather X
{_MODAL} A [please|maybe|perhaps] <be|become|{_HAVE}|look|turn> X => A should W X
{_MODAL} A [please|maybe|perhaps] <{_GONE}> => A should W
what if there was|were|is|are X => add X
what if we had X => add X
what if A <{_PAST}> X => A should W X
make sure|ensure [that] there is|are X => there should be X
make sure|ensure [that] A <{_PAST}> X => A should W X
it|i|we X if A <{_PAST}> Y => A should W Y
what|how about N P A => add N P A
what|how about X => X
A must|shall|could|would|will|might|may X => A should X
A has|have|needs|need|ought to X => A should X
A should no longer X => A should not X
A becomes|become X => A should become X
there must|could|would|might|shall X => there should X
there should be no X => remove X
there should|must not be [a|an|any] X => remove X
there should be X => add X
A should not [be] {_HAVE} [a|an|any] X => remove X from A
A should {_HAVE} no [more] X => remove X from A
A should not be there|here|visible => remove A
A should [be] {_GONE} => remove A
A should be|become|look {_GOOD} with X => @given A X
A should be|become|look {_GOOD} [in|as] X => A should be X
A should be <{_DONE}> X => W A X
A should turn|change into|to X => A should be X
A should [be] {_HAVE} X => @given A X
A should be|become|look [like|as] X => @become A X

wishes, written as want, prefer, like
want|prefer|like you to X => X
want|prefer|like to X => X
want|prefer|like A [to] [be] gone|removed|deleted|erased|away|out|disappear|vanish => remove A
want|prefer|like A to <be|become|{_HAVE}|look|turn> X => A should W X
want|prefer|like A <{_DONE}> X => W A X
want|prefer|like A in [a|the] C => paint A C
want|prefer|like A in Q => make A in Q
want|prefer|like D in B => @dress D B
want|prefer|like D without X => remove X from D
want|prefer|like D Q => make D Q
want|prefer|like D N => make D N
prefer B => @rather B
like D => @topic D
want|like X => @wanted X
A needs N => @given A N

statements
there is|are X => @topic X
A is|are X => @told A X
A looks|look|seems|seem X => @told A X seems
{{into|swap|make}} A -> X => A -> X
A -> X => @change A X ->
in [a|the] C => make it C
see A in C => paint A C
see|notice|find|locate|select X => @topic X

change, replace, paint, make
edit out A => remove A
{{into|swap}} A from X into|to Y => @from A X Y
{{into}} A into [be] X => @change A X into
{{into}} A to [be] X => @change A X to
change|alter A for|with|by X => @change A X with
{{into|make|let}} A in C => @quality A C
{{into}} A X => @made A X
substitute X for Y => @substitute X Y
{{swap}} [out] A with|by X => @swap A X
{{swap}} [out] A for|to|into|against X => @change A X for
swap|exchange|switch B => @exchange B
{{paint}} A [to|into|in|as|with] [a|the] C [colour|color] => @quality A C strict
{{paint}} A Q => @quality A Q strict
paint N => draw N
let|have|make A be <{_DONE}> X => W A X
{{make|let}} A {_GONE} [away] => remove A
{{make|let}} A {_LOOK} [like|as|to] [if] [it|they|he|she] [is|was|were|are] X => @become A X
{{make|let}} A out of B => @material A B
{{make|let}} A made of|from|out B => @material A B
{{make|let}} A [be] {_HAVE} X => @given A X
{{make|let}} A into X => @change A X into
{{make|let}} A in Q => @become A in Q
{{make|let}} A [to] X => @made A X
{{cover}} A with|in|by B => @cover A B V
{{open}} A => @state A V

add, remove, give
let there be X => add X
have N <{_POSE}> X => add N W X
have there be X => add X
have X => @wanted X
let|have|get A [be] <{_DONE}> X => W A X
let|have|get A [be] <{_DONE}> => W A
get rid of A => remove A
{{take}} away|out|off|up|down A from|off X => remove A from X
{{take}} away|out|off|up|down A => @clear A V
{{take|get}} A away|out|off|down => remove A
{{take|get}} A away|out|off|from [from|of] X => remove A from X
take A => @topic A
{{remove}} A from|off [of] X => @remove A X
{{remove}} A => @remove A
bring|put|pop|throw in X => add X
bring|throw X in => add X
put D in B => @dress D B
show A in C => @quality A C
show|depict|draw A as X => @become A X
{{add}} B where A is|was|stands|stood|sits => @change A B into
{{add}} D on fire => make D burning
add|include|insert|introduce X => @add X
{{add}} X => @put X V
give B to A => @given A B
give A X => @give A X
{{fill}} A with|in B => @fill A B V
{{keep}} X => @keep X V

without a verb
A from X into|to Y => @from A X Y
A into B => @bare A B
A to [be] B => @bare A B
A into|to [be] Q => @bare A Q
A C => @bare-colour A C
D Q => @bare-quality D Q
"""

_KNOWN = {**forms.FORMS, **scenes.FORMS}
_READER = Rules(_RULES, _KNOWN)


def read_clause(words: Words, context: Context) -> Reading | None:
    """The meaning of one clause without openers, or None. `context` is what was read before it."""
    lower = low(words)
    if lower[0] in lex.GERUNDS and lower[1:2] in lex.ONE_DETERMINER:  # "would you mind painting the bench"
        words = (lex.GERUNDS[lower[0]], *words[1:])
    for form in (look_reading, scenes.weather):
        reading = form(words, context)
        if reading is not None:
            return reading
    wanted = _wish(words)
    return _READER.read(words if wanted is None else wanted, context, own=words)


def _wish(words: Words) -> Words | None:
    """ "I want X", "my boss wants X" as "want X"; None where nobody wishes."""
    lower = low(words)
    if lower[0] in {"would", "need"}:
        words, lower = ("i", *words), ("i", *lower)
    for i, word in enumerate(lower[:5]):
        wisher = lower[0] in lex.SPEAKERS
        who = words[: i - 1] if lower[i - 1] == "would" else words[:i]
        someone = lower[0] in lex.DETERMINERS and word != "like" and is_phrase(who)
        said = i and not set(lower[:i]) & lex.NEGATIONS
        if word in lex.WISHES and said and (wisher or (someone and word != "needs")):
            plain = (
                "prefer"
                if "prefer" in word or word == "rather"
                else "like"
                if lower[:i] == ("i",) and word in {"like", "love"}
                else "want"
            )
            rest = words[i + 1 :]
            starts = (("to", "see"), ("to", "have"), ("for",), *((("have",), ("see",)) if word == "rather" else ()))
            rest = next((rest[len(start) :] for start in starts if low(rest)[: len(start)] == start), rest)
            return (plain, *rest) if rest and low(rest)[:2] != ("it", "if") else None
    return None
