"""The words that the rules planner knows. Everything else is taken as a noun or a name, which needs no list."""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> list[tuple[str, ...]]:
    """The phrases between "|" as tuples of words, longest first: "in front of" is looked for before "in"."""
    return sorted((tuple(phrase.split()) for phrase in text.split("|")), key=len, reverse=True)


# --- determiners, prepositions, pronouns ------------------------------------------------------------------------------

INDEFINITE = _set("a an one another some any every each")
POSSESSIVE = _set("my our your his her its their")
DEFINITE = _set("the this that these those") | POSSESSIVE
DETERMINERS = INDEFINITE | DEFINITE
QUANTIFIERS = _set("both all")
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8} | {
    str(n): n for n in range(2, 9)
}
ORDINALS = _set("first second third fourth other last")
PRONOUNS = _set("it this that them they these those everything something anything all")
SOMEBODY = {"him": "man", "he": "man", "her": "woman", "she": "woman", "them": "people"}
PEOPLE_PRONOUNS = _set("him her he she")
NOT_IN_PHRASES = _set("i me we us you he she they myself yourself what why how who's")  # outside relative clauses

PLACES = _phrases(  # of what is put somewhere
    "above|across|against|along|around|at|at the bottom of|at the top of|behind|below|beneath|beside|between|by|"
    "close to|in|in front of|in the center of|in the centre of|in the middle of|in to|inside|inside of|into|near|"
    "next to|on|on the edge of|on the left of|on the left side of|on the right of|on the right side of|on to|"
    "on top of|onto|outside of|over|to|to the left of|to the right of|under|underneath|upon"
)
PREPOSITIONS = _set(
    "of in on at to by for with from into onto upon under underneath beneath over above below near beside behind"
    " between inside outside around against along across through without off next like as during among"
)
RELATIVES = _set("that which who whose where")
FINITE = _set("is are was were has have had stands sits lies hangs looks wears holds flies runs leans faces sleeps")
NOUNS_TOO = {("faces",), ("looks",), ("stands",)}  # of these verbs, after a determiner
CONJUNCTIONS = _set("and or ,")
# What stands after a noun and goes on about it, besides words in -ing: "the car parked there".
STANCES = _set("made lying covered parked worn seated dressed")
ACTIVITIES = _set(
    "standing sitting walking running flying sleeping hanging swimming floating growing resting wearing holding"
    " carrying riding eating playing jumping leaning surrounded filled"
)
NEVER_LAST = (PREPOSITIONS | CONJUNCTIONS | RELATIVES | DETERMINERS | {"not"}) - {"one", "her"}
NEVER_INSIDE = _set("then -> into please not don't instead it's it except because so wants want needs when if again")
# Places in the picture rather than things in it.
POSITIONS = _set(
    "left right middle centre center corner top bottom side foreground front background distance edge left-hand"
    " right-hand upper lower hand"
)
PICTURE = _set("picture photo photograph image pic scene shot painting drawing snapshot frame")

# --- verbs ------------------------------------------------------------------------------------------------------------

_FORMS = {
    "change": "into", "turn": "into", "transform": "into", "convert": "into", "morph": "into", "alter": "into",
    "modify": "into", "mutate": "into", "reshape": "into", "transfigure": "into", "transmute": "into", "edit": "into",
    "replace": "swap", "substitute": "swap", "swap": "swap", "exchange": "swap", "switch": "swap", "trade": "swap",
    "paint": "paint", "repaint": "paint", "colour": "paint", "color": "paint", "recolour": "paint", "recolor": "paint",
    "dye": "paint", "tint": "paint", "colorize": "paint", "colourise": "paint", "colorise": "paint",
    "make": "make", "render": "make",
    "remove": "remove", "delete": "remove", "erase": "remove", "eliminate": "remove", "lose": "remove",
    "hide": "remove",
    "drop": "remove", "discard": "remove", "ditch": "remove",
    "get": "get", "take": "take", "cut": "take", "crop": "take", "photoshop": "take", "wipe": "take", "clean": "take",
    "clear": "take", "throw": "take", "scrub": "take", "clone": "take", "mask": "take", "strip": "take",
    "add": "add", "insert": "add", "put": "add", "place": "add", "include": "add", "draw": "add", "stick": "add",
    "hang": "add", "show": "add", "position": "add", "attach": "add", "introduce": "add", "paste": "add",
    "plant": "add",
    "set": "add", "lay": "add", "create": "add", "generate": "add", "use": "add",
    "bring": "add", "kick": "take", "give": "give", "fill": "fill", "decorate": "fill", "surround": "fill",
    "dress": "fill", "adorn": "fill", "equip": "fill", "garnish": "fill", "furnish": "fill", "cover": "cover",
    "let": "let", "have": "let", "keep": "keep", "leave": "keep", "preserve": "keep",
}  # fmt: skip
VERBS = dict(_FORMS)
"""Verb form → the kind of clause that it opens. Gerunds too ("would you mind painting …")."""
GERUNDS: dict[str, str] = {}
for _verb in _FORMS:
    _stem = _verb[:-1] if _verb.endswith("e") and _verb != "dye" else _verb
    _double = _verb in {"put", "set", "get", "cut", "crop", "swap", "drop", "let", "clone", "scrub", "strip"}
    GERUNDS[f"{_stem}{_stem[-1] if _double and not _verb.endswith('e') else ''}ing"] = _verb
PARTICIPLES = {
    "changed": "change", "turned": "turn", "transformed": "transform", "converted": "convert", "replaced": "replace",
    "swapped": "swap", "substituted": "substitute", "exchanged": "exchange", "switched": "switch", "painted": "paint",
    "coloured": "colour", "colored": "color", "recoloured": "recolour", "recolored": "recolor", "dyed": "dye",
    "made": "make", "removed": "remove", "deleted": "delete", "erased": "erase", "hidden": "hide", "covered": "cover",
    "filled": "fill", "morphed": "morph", "added": "add", "placed": "place", "inserted": "insert",
}  # fmt: skip
OTHER_VERBS = _set(
    "move shift rotate resize scale crop flip mirror zoom enlarge shrink stretch brighten darken lighten sharpen"
    " blur improve enhance fix straighten tilt undo save open close print show tell sing write explain describe"
    " ignore forget copy duplicate upscale denoise restore adjust increase decrease reduce retouch align centre"
    " center"
)
GONE = _set("disappear vanish go gone invisible removed deleted erased leave")
WISHES = _set("want wants wanted like love need needs prefer wish")
SUPPOSED = {
    "had": "have", "has": "have", "wore": "wear", "held": "hold", "was": "be", "were": "be", "is": "be",
    "became": "become",
}  # fmt: skip
MODALS = _set("should must shall ought could would")
BECOME = _set("be become becomes turn turns")

# --- fillers ----------------------------------------------------------------------------------------------------------

OPENERS = _phrases(
    "actually|additionally|after that|afterwards|also|and|and then|at the same time|besides|but|can i|can we|"
    "can you|could i|could we|could you|dear|do you mind|feel free to|finally|firstly|furthermore|go ahead and|"
    "hello|help me|help me to|hey|hi|i feel that|i guess|i need to|i need you to|i think|i think that|i want to|"
    "i want you to|i was wondering if you could|i wish to|i would like to|i would like you to|i would love to|"
    "i'd like to|i'd like you to|i'd love to|i'd love you to|in addition|in this picture|is it possible to|just|"
    "kindly|lastly|let us|let's|lets|make sure to|maybe|meanwhile|moreover|now|ok|okay|perhaps|please|pls|plz|"
    "possibly|quickly|secondly|shall we|simply|sir|so|so that|step|the task is to|then|thirdly|try to|we need to|"
    "we should|we want to|we would like to|we'd like to|well|while you're at it|will you|would it be possible to|"
    "would you|would you mind|you can|you must|you should|your task is to"
)
CLOSERS = _phrases(
    "altogether|as well|can you|cheers|completely|could you|entirely|everywhere|for me|if possible|if you can|"
    "many thanks|now|please|pls|plz|somewhere|thank you|thank you very much|thanks|thanks a lot|thx|too|will you|"
    "would you"
)

# --- colours and other qualities --------------------------------------------------------------------------------------

COLOURS = _set(
    "red orange yellow green blue purple violet pink brown black white grey gray silver gold golden beige turquoise"
    " cyan magenta maroon teal navy crimson scarlet indigo lavender tan khaki ivory bronze copper burgundy lilac"
    " mauve ochre amber emerald ruby sapphire azure aquamarine fuchsia multicoloured multicolored colourful colorful"
    " rainbow-coloured rainbow-colored transparent reddish bluish greenish yellowish greyish grayish"
)
PAINT_COLOURS = COLOURS | _set(
    "cream olive salmon lime rose peach plum mint coral aqua chocolate charcoal mustard rust sand rainbow neon"
)
SUBSTANCES = _set(  # qualities in "the ice wall", things in "turn it into ice"
    "gold silver bronze copper wood stone brick metal glass plastic marble paper leather concrete iron steel ice"
    " lego silk"
    " velvet crystal night nighttime daytime evening morning dawn dusk sunset sunrise orange"
)
ING_NOUNS = _set(
    "building ceiling painting wedding railing clothing lightning evening morning awning icing dwelling crossing"
    " dressing pudding duckling sapling drawing carving sibling lighting flooring wiring siding roofing frosting"
    " filling topping earring darling gosling fledgling seedling string spring wedding offspring shilling herring"
    " stocking greeting"
)
LABELS = _set("edit task request instruction instructions prompt note step")
SHADES = _set("light dark bright pale deep vivid pastel neon hot royal sky navy forest olive lime blood dull soft")
ADVERBS = _set("very more less slightly really much bit little quite extremely super much completely totally fully all")
_CLASSES = {
    "sky": "clear cloudy cloudless sunny overcast stormy starry sunset sunrise night nighttime daytime evening"
    " morning dawn dusk rainy"
    " snowy foggy misty hazy moonlit",
    "material": "wooden wood stone brick metal metallic glass plastic golden marble paper leather concrete iron"
    " steel ice lego"
    " woollen woolen velvet silk ceramic crystal knitted fluffy furry",
    "age": "old young older younger new newer ancient modern antique vintage aged futuristic medieval baby elderly",
    "size": "big small large huge tiny bigger smaller larger tall taller short shorter long longer wide wider narrow"
    " thick thin"
    " giant enormous little miniature fat fatter slim higher lower high low gigantic massive",
    "mood": "happy sad angry smiling laughing crying scary friendly cute funny serious surprised grumpy sleepy evil"
    " tired",
    "water": "wet dry frozen flooded muddy dusty snow-covered icy",
    "shape": "round square oval triangular rectangular heart-shaped flat curved straight pointed",
    "surface": "shiny matte matt glossy rusty dirty clean smooth rough sparkling glittery striped dotted spotted"
    " checkered"
    " chequered plaid patterned plain sparkly glowing",
    "tone": "dark bright dim pale vivid faded blurry gloomy",
    "state": "open closed full empty broken burning lit unlit folded cracked ruined abandoned blooming bare",
    "looks": "beautiful pretty ugly elegant fancy simple realistic luxurious cozy cosy creepy spooky nice rich poor"
    " lush"
    " autumnal wintry magical cartoonish dramatic strong muscular bald curly blonde blond hairy hot cold green tidy"
    " messy"
    " electric dead alive healthy sick wild tame naked asleep awake cold",
}
CLASS_OF = {word: name for name, members in _CLASSES.items() for word in members.split()}
ADJECTIVES = frozenset(CLASS_OF) | COLOURS
BEFORE_COLOUR = frozenset(
    word for word, name in CLASS_OF.items() if name in {"age", "size", "looks", "mood", "state"} and word not in COLOURS
)
ADJECTIVE_ENDINGS = ("y", "ful", "less", "ous", "ish", "ed", "ic", "ive", "able", "ible", "like", "proof", "shaped")
SKY_TIMES = {  # "make it …" → the sky that is meant
    "night": "night", "nighttime": "night", "night-time": "night", "dark": "night", "sunset": "sunset",
    "sunrise": "sunrise",
    "dawn": "dawn", "dusk": "dusk", "evening": "evening", "day": "daytime", "daytime": "daytime", "sunny": "sunny",
    "cloudy": "cloudy", "overcast": "overcast", "stormy": "stormy", "clear": "clear", "starry": "starry",
    "morning": "morning",
}  # fmt: skip
WEATHER = {  # "make it …" → the thing that is added
    "snow": "snow", "snowing": "snow", "snowy": "snow", "rain": "rain", "raining": "rain", "rainy": "rain",
    "fog": "fog",
    "foggy": "fog", "mist": "mist", "misty": "mist", "hail": "hail", "hailing": "hail", "haze": "haze", "hazy": "haze",
}  # fmt: skip

# --- nouns
# --------------------------------------------------------------------------------------------------------------

MASS = _set(
    "grass snow sand water ice mud dirt gravel asphalt concrete air fog mist rain smoke fire hair fur wool wood"
    " gold silver bronze copper iron steel metal glass plastic paper leather marble stone chocolate rice bread milk"
    " coffee tea beer wine juice soup salad salmon meat beef pork cheese butter sugar salt pepper flour fruit"
    " parsley broccoli lettuce spinach food clothing furniture jewelry jewellery traffic graffiti moss lava foliage"
    " clay hay corn wheat pasta spaghetti sushi bacon ham cotton silk velvet lego lightning sunlight moonlight light"
    " dust earth soil land weather autumn winter summer spring day night ground-cover greenery vegetation ivy"
    " sunshine darkness text writing makeup curry porcelain"
)
PLURAL_ONLY = _set(
    "glasses sunglasses trousers jeans pants shorts scissors clothes stairs leggings tights headphones goggles"
    " binoculars people men women children police cattle mice geese feet teeth sheep fish deer"
)
SINGULAR_TOO = _set("sheep fish deer")
ANIMALS = _set(
    "dog cat puppy kitten wolf fox tiger lion leopard cheetah panther jaguar bear panda koala horse pony zebra"
    " donkey mule unicorn cow bull ox calf buffalo bison sheep lamb goat pig piglet boar deer moose elk reindeer"
    " antelope giraffe elephant rhino rhinoceros hippo hippopotamus camel llama alpaca kangaroo monkey ape gorilla"
    " chimpanzee rabbit bunny hare squirrel mouse rat hamster hedgehog raccoon beaver otter badger bat bird parrot"
    " pigeon dove crow raven eagle hawk falcon owl duck goose swan chicken hen rooster turkey peacock ostrich"
    " penguin seagull stork heron flamingo sparrow robin frog toad lizard crocodile alligator snake turtle tortoise"
    " fish shark whale dolphin seal goldfish salmon crab lobster octopus spider butterfly bee ant beetle ladybug"
    " ladybird dragonfly snail worm husky corgi poodle labrador retriever shepherd lynx cub foal dinosaur dragon"
    " sloth skunk yak walrus"
)
GROUNDS = _set(
    "grass lawn meadow snow sand beach desert water dirt mud ground soil road street pavement sidewalk asphalt"
    " floor ice field gravel carpet rug pond lake sea ocean river"
)
SKY = _set("sky")
IN_THE_SKY = _set(
    "moon sun star rainbow cloud bird plane airplane aeroplane jet helicopter balloon kite ufo drone eagle airship"
    " aurora"
)
PARTS = _set(
    "hat beard moustache mustache hair glasses sunglasses cap helmet coat jacket shirt dress tie scarf umbrella bag"
    " backpack mask wheel wheels window windows door roof stripe stripes spot spots tail horn horns wing wings ear"
    " ears collar leash handle logo label flag flags"
)
PAIRS = {  # two nouns that are one thing
    frozenset(pair.split("+"))
    for pair in _set(
        "arrow+bow arrows+bows bacon+eggs ball+chain bed+breakfast bread+butter bride+groom bucket+mop bucket+spade"
        " carriage+horse cart+horse chairs+table cheese+crackers cheese+mac child+mother chips+fish coat+hat"
        " cookies+milk cup+saucer cups+saucers daughter+mother eggs+ham father+son fork+knife forks+knives"
        " hammer+sickle"
        " jacket+tie key+lock man+woman moon+sun needle+thread oil+vinegar pans+pots paper+pen pepper+salt shirt+tie"
        " suit+tie"
    )
}
