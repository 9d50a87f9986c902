"""Verbs: which kind of clause each opens, its other forms, and those that name what is not done here."""

from __future__ import annotations

from gas_planners.rules.lexicon.closed import word_set

_KINDS = {
    "into": "change turn transform convert morph alter modify mutate reshape transfigure transmute edit",
    "swap": "replace substitute swap exchange switch trade",
    "paint": "paint repaint colour color recolour recolor dye tint colorize colourise colorise spray",
    "make": "make render",
    "remove": "remove delete erase eliminate lose hide drop discard ditch exclude omit",
    "get": "get",
    "take": "take cut crop photoshop wipe clean clear throw scrub clone mask strip kick rub filter airbrush",
    "add": "add insert put place include draw stick hang show position attach introduce paste plant set lay create"
    " generate use bring pop",
    "give": "give",
    "fill": "fill decorate surround dress adorn equip garnish furnish",
    "cover": "cover wrap coat",
    "let": "let have",
    "keep": "keep leave preserve maintain retain",
    "open": "open close shut melt burn break freeze fold carve whiten",
}
VERBS = {verb: kind for kind, verbs in _KINDS.items() for verb in verbs.split()}
"""Verb → the kind of clause that it opens."""
_DOUBLED = word_set("put set get cut crop swap drop let scrub strip rub wrap pop sit run swim hug")


def _gerund(verb: str) -> str:
    stem = verb[:-1] if verb.endswith("e") and verb != "dye" else verb
    return f"{stem}{stem[-1] if verb in _DOUBLED else ''}ing"


GERUNDS = {_gerund(verb): verb for verb in VERBS}
""" "would you mind painting …" """
PARTICIPLES = {"made": "make", "hidden": "hide", "dyed": "dye"} | {
    f"{verb.removesuffix('e')}{verb[-1] if verb in _DOUBLED else ''}ed": verb
    for verb in word_set(
        "change turn transform convert replace swap substitute exchange switch paint repaint colour color recolour"
        " recolor remove delete erase cover fill morph add place insert"
    )
}
""" "painted" → "paint", for "have the bench painted" and the like."""
SIZING = word_set("resize scale enlarge shrink stretch magnify double halve widen lengthen shorten grow thicken zoom")
MOVING = word_set(
    "move shift rotate flip mirror tilt align centre center straighten raise lower reposition drag slide relocate"
    " rearrange spin"
)
OTHER_VERBS = (
    SIZING
    | MOVING
    | word_set(
        "crop darken lighten brighten sharpen blur improve enhance fix undo save print tell sing write explain"
        " describe ignore forget copy duplicate upscale denoise restore adjust increase decrease reduce retouch"
        " pixelate desaturate whistle count find identify compare translate say ask"
    )
)
GONE = word_set("disappear vanish go gone invisible removed deleted erased leave")
WISHES = word_set("want wants wanted like love need needs prefer prefers wish rather")
IN_THE_PAST = {
    "had": "have", "has": "have", "wore": "wear", "held": "hold", "was": "be", "were": "be", "is": "be",
    "became": "become",
}  # fmt: skip
INTO_STATE = {
    "open": "open", "close": "closed", "shut": "closed", "melt": "melted", "burn": "burning", "break": "broken",
    "freeze": "frozen", "fold": "folded", "carve": "carved", "whiten": "whiter",
}  # fmt: skip
DOING = {
    verb: _gerund(verb)
    for verb in word_set("smile laugh cry sleep glow burn bloom frown wink shine sparkle float blush melt yawn scream")
}
"""What somebody is made to do, and how he is then."""
POSES = {"lie": "lying"} | {
    verb: _gerund(verb)
    for verb in word_set(
        "sit stand walk run fly jump swim hang rest play eat dance climb sail grow hover ride drink read kick catch"
        " throw hug kiss chase watch push pull drive lick bite fight"
    )
}
ACTS = POSES.keys() | word_set("say look seem wave point use come turn show wear hold carry have touch smoke sing")
"""Verbs that rules do not read as such: what stands behind them is no new thing of the one who does it."""
# What stands after a noun and goes on about it, besides words in -ing: "the car parked there".
STANCES = word_set(
    "made lying covered parked worn seated dressed carved painted filled wrapped decorated surrounded attached"
    " tied hung called named held seen shown lit standing sitting leaning"
)
ACTIVITIES = word_set(
    "standing sitting walking running flying sleeping hanging swimming floating growing resting wearing holding"
    " carrying riding eating playing jumping leaning surrounded filled"
)
