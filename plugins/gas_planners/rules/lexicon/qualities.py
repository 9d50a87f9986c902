"""Qualities: colours, materials and the like, by class. A change of one replaces what the thing had of its class."""

from __future__ import annotations

from gas.picture.survey import surveyed_colours
from gas_planners.rules.lexicon.closed import ORDINALS, POSITIONS, word_set
from gas_planners.rules.lexicon.things import ANIMALS, GROUNDS

COLOURS = word_set(
    "red orange yellow green blue purple violet pink brown black white grey gray silver gold golden beige turquoise"
    " cyan magenta maroon teal navy crimson scarlet indigo lavender tan khaki ivory bronze copper burgundy lilac"
    " mauve ochre amber emerald ruby sapphire azure aquamarine fuchsia multicoloured multicolored colourful colorful"
    " rainbow-coloured rainbow-colored transparent reddish bluish greenish yellowish greyish grayish brownish pinkish"
    " purplish orangish blackish whitish taupe cobalt vermilion periwinkle ultramarine cerulean chartreuse sienna umber"
    " sepia off-white jet-black snow-white blonde blond auburn brunette ginger rosy silvery coppery translucent opaque"
    " see-through neon ombre pastel-coloured uncoloured colourless colorless two-tone two-toned multicolour multicolor"
)
_NO_PAINTS = word_set(
    "leather velvet linen denim ice steel straw clay cement brass dusk twilight midnight desert dust earth swamp"
    " forest ocean tea pale dark bland bruise blood royal apple pine sky grass sea water tree leaf mud dirt stone snow"
    " wood barney poo poop shit puke vomit snot booger bile diarrhea"
)
PAINT_COLOURS = (
    COLOURS
    | {name for name in surveyed_colours() if " " not in name} - _NO_PAINTS
    | word_set("rainbow neon pearl pastel ash champagne")
)
"""Colours where only a colour can stand, as after a verb of painting: there "mint" is no herb."""
SHADES = word_set(
    "light dark bright pale deep vivid pastel neon hot royal dull soft rich electric midnight baby powder matte matt"
    " glossy metallic warm cool dusty muted burnt fluorescent shocking dirty racing jet pitch navy"
)
"""Words before any colour that say which one."""
SHADES_OF = {
    colour: set(words.split())
    for colour, words in {
        "green": "grass leaf sea pistachio", "blue": "sky sea ocean ice steel egg slate denim",
        "red": "brick engine candy ruby",
        "white": "snow cream pearl ivory", "black": "coal ink", "grey": "ash steel gunmetal dove silver stone slate",
        "brown": "chestnut coffee", "gold": "rose", "orange": "blood tangerine", "egg": "duck robin's",
        "iron": "wrought cast", "steel": "stainless", "leather": "faux", "fur": "faux", "glass": "stained frosted",
        "engine": "fire",
    }.items()
}  # fmt: skip
"""Things that say which of a colour is meant, as in "sage green"; those of the table of colours are added below."""
SHADES_OF["gray"] = SHADES_OF["grey"]
_NO_SHADES = ANIMALS | GROUNDS | word_set("tree leaf water sun windows tea hospital highlighter")
"""Things that are no shade of a colour when something stands before them: "the apple tree green"."""
for _shade, _, _of in (name.partition(" ") for name in surveyed_colours()):
    if _of in COLOURS and _shade not in _NO_SHADES:
        SHADES_OF.setdefault(_of, set()).add(_shade)
MATERIALS = word_set(
    "leather velvet linen denim ice steel straw clay brass pine stone wood slate brick iron fur glass metal plastic"
    " marble paper concrete lego silk crystal porcelain cotton wool satin lace bamboo granite chrome cardboard"
    " rubber felt suede tweed corduroy wicker rattan jade diamond tin titanium aluminium aluminum canvas mosaic"
    " quartz obsidian foil ebony oak mahogany teak terracotta ceramic gravel asphalt walnut cedar maple birch"
    " cherrywood rosewood driftwood plywood latex vinyl polyester nylon fleece cashmere"
)
SUBSTANCES = MATERIALS | word_set(
    "orange silver gold ivory bronze copper amber emerald ruby sapphire ginger neon dusk pearl candy night"
    " nighttime daytime evening morning dawn sunset sunrise lead chocolate gingerbread cheese wax jelly cloth fabric"
    " tile tiles onyx winter summer autumn spring pixel"
)
"""Qualities in "the ice wall", things in "turn it into ice"."""
_CLASSES = {
    "sky": "clear cloudy cloudless sunny overcast stormy starry sunset sunrise night nighttime daytime evening morning"
    " dawn dusk rainy snowy foggy misty hazy moonlit windy thundery starlit smoky calm rough choppy wavy turbulent",
    "material": " ".join(MATERIALS)
    + " golden metallic stainless wooden woollen woolen knitted earthen silken waxen tiled thatched crocheted woven"
    " quilted upholstered cobbled cobblestone paved grassy sandy stained-glass carbon-fibre chrome-plated"
    " gold-plated gilded gilt silver-plated stainless-steel papier-mâché cast-iron faux-fur furry fluffy carpeted"
    " glassy crystalline",
    "age": "old young older younger new newer ancient modern antique vintage aged futuristic medieval baby elderly"
    " retro old-fashioned contemporary teenage adult middle-aged weathered worn worn-out youthful wrinkled"
    " prehistoric victorian baroque gothic rustic art-deco steampunk",
    "size": "big small large huge tiny giant enormous little miniature tall wide narrow thick thin gigantic"
    " massive high low oversized mini medium-sized life-size life-sized colossal mighty teeny taller shorter",
    "length": "long short shoulder-length knee-length ankle-length",
    "build": "fat slim skinny chubby muscular plump lean obese buff toned",
    "mood": "happy sad angry smiling laughing crying scary friendly cute funny serious surprised grumpy sleepy evil"
    " tired scared worried excited bored shocked confused proud shy embarrassed frightened terrified cheerful joyful"
    " furious mad jealous calm relaxed nervous frowning winking blushing screaming yawning menacing fierce gloomy"
    " mischievous goofy silly stern thoughtful annoyed disgusted depressed hungry drunk sleeping",
    "water": "wet dry frozen flooded muddy dusty snow-covered icy snowy soaked soaking damp drenched frosty frosted"
    " dewy melted melting slippery rain-soaked ice-covered snow-capped iced parched rain-slicked",
    "shape": "round square oval triangular rectangular heart-shaped flat curved straight pointed star-shaped hexagonal"
    " spherical cubic circular angular wavy crooked spiral cylindrical pyramidal domed arched spiky pointy blunt"
    " star-like diamond-shaped l-shaped",
    "surface": "shiny matte matt glossy rusty dirty clean smooth rough sparkling glittery striped dotted spotted"
    " checkered chequered plaid patterned plain sparkly glowing polka-dot polka-dotted floral tartan camouflage"
    " camo leopard-print zebra-striped paisley tie-dye tie-dyed flowery embroidered sequined sequinned sparkled"
    " speckled mottled reflective mirrored polished unpolished brushed cracked scratched mossy overgrown scaly"
    " hairy slimy sticky greasy oily iridescent holographic fluorescent phosphorescent luminous shimmering"
    " shiny-black satiny silky velvety bumpy grainy rugged textured painted unpainted varnished tattooed freckled"
    " stained chipped dented peeling graffitied lacquered enamelled enameled crumpled wrinkly ironed crinkled"
    " starry-patterned marbled ribbed pleated fringed feathered feathery prickly thorny leafy woolly pinstriped"
    " herringbone houndstooth gingham argyle",
    "tone": "dark bright dim pale vivid faded blurry gloomy blurred sharp vibrant dull saturated desaturated muted"
    " warm cool monochrome grayscale greyscale washed-out light shadowy backlit hazy-looking moody pixelated",
    "state": "open closed full empty broken burning lit unlit folded cracked ruined abandoned blooming bare shut torn"
    " ripped shattered smashed locked unlocked half-empty half-full overflowing crowded deserted busy loaded unloaded"
    " carved peeled sliced cooked raw baked fried grilled toasted burnt burned charred rotten ripe unripe fresh stale"
    " wilted withered dead alive blossoming flowering leafless smoking steaming boiling exploding collapsed crashed"
    " damaged intact repaired unfinished finished decorated undecorated furnished unfurnished inflated deflated"
    " electric solar-powered switched-on illuminated open-top convertible upright reclining crumbling dilapidated"
    " derelict pristine renovated well-kept haunted sunken floating flying flaming fiery on-fire petrified fossilised"
    " fossilized bandaged wrapped unwrapped plucked shaved unshaven bearded bald balding clean-shaven bushy trimmed"
    " mowed mown neat shaggy curly straight-haired braided dyed permed spiky-haired unbuttoned buttoned sleeveless"
    " long-sleeved short-sleeved hooded cropped baggy tight loose tight-fitting barefoot pregnant injured asleep awake"
    " naked nude masked armoured armored winged horned",
    "looks": "beautiful pretty ugly boring elegant fancy simple realistic luxurious cozy cosy creepy spooky nice rich"
    " poor lush autumnal wintry magical cartoonish dramatic strong curly blonde blond hairy hot cold green tidy"
    " messy healthy sick wild tame summery springlike festive colourful colorful classy cheap expensive posh formal"
    " casual sporty traditional exotic tropical romantic mysterious enchanted fairytale royal majestic cool chic"
    " trendy stylish sexy handsome glamorous minimalist minimalistic industrial scandinavian japanese chinese"
    " italian french german english american african egyptian roman greek mexican indian arabic viking alien"
    " robotic mechanical cybernetic zombie-like demonic angelic ghostly surreal abstract cubist impressionist"
    " photorealistic hyperrealistic cinematic dreamy ethereal whimsical adorable terrifying horrifying grotesque"
    " monstrous mutant powerful heroic noble innocent gentle savage edible delicious appetizing tasty spicy organic"
    " natural artificial fake real lifelike animated friendly-looking professional clean-looking dystopian utopian"
    " apocalyptic post-apocalyptic radioactive toxic polluted prosperous humble ornate intricate delicate sturdy"
    " fragile heavy weightless speedy sleek aerodynamic streamlined pastel",
}
CLASSES_OF: dict[str, frozenset[str]] = {}
"""Quality → the classes that it belongs to."""
for _name, _members in _CLASSES.items():
    for _word in _members.split():
        CLASSES_OF[_word] = CLASSES_OF.get(_word, frozenset()) | {_name}
ADJECTIVES = frozenset(CLASSES_OF) | COLOURS
BEFORE_COLOUR = (
    (word_set(" ".join(_CLASSES[name] for name in ("age", "size", "looks", "mood", "state"))) - COLOURS)
    | ORDINALS
    | POSITIONS
)

NOUNS_TOO = MATERIALS | word_set(
    "orange violet silver gold turquoise lavender tan ivory bronze copper lilac amber emerald ruby sapphire cobalt"
    " sepia blonde blond brunette ginger dusk pastel light baby rose night nighttime daytime evening morning dawn"
    " sunset sunrise tile antique steampunk giant square spiral tartan camouflage convertible alien mutant mirror"
    " individual"
)
"""Qualities that are things as well: "the orange", "the light"."""
QUALITY_ENDINGS = (
    "-coloured", "-colored", "-shaped", "-like", "-style", "-styled", "-themed", "-patterned", "-covered", "-looking",
    "-painted", "-tinted", "-plated", "-eyed", "-haired", "-striped", "-free", "-proof", "-print", "-toned", "-era",
    "-inspired", "-filled", "-lit",
)  # fmt: skip
SKY_TIMES = {  # "make it …" → the sky that is meant
    "night": "night", "nighttime": "night", "night-time": "night", "dark": "night", "sunset": "sunset",
    "sunrise": "sunrise", "dawn": "dawn", "dusk": "dusk", "evening": "evening", "day": "daytime", "daytime": "daytime",
    "sunny": "sunny", "cloudy": "cloudy", "overcast": "overcast", "stormy": "stormy", "clear": "clear",
    "starry": "starry", "morning": "morning",
}  # fmt: skip
WEATHER = {  # "make it …" → the thing that is added
    "snow": "snow", "snowing": "snow", "snowy": "snow", "rain": "rain", "raining": "rain", "rainy": "rain",
    "fog": "fog", "foggy": "fog", "mist": "mist", "misty": "mist", "hail": "hail", "hailing": "hail", "haze": "haze",
    "hazy": "haze",
}  # fmt: skip
SEASONS = word_set(
    "winter summer autumn fall spring christmas halloween easter wintertime summertime springtime autumntime noon"
    " midday midnight"
)
TIMES = SEASONS | word_set("day night daytime nighttime sunset sunrise dawn dusk evening morning")
PERIODS = word_set("vintage retro futuristic modern medieval antique ancient steampunk gothic victorian baroque rustic")
MEDIA = word_set(
    "painting watercolor watercolour sketch drawing cartoon anime comic manga poster mosaic sculpture render rendering"
    " illustration fresco collage engraving woodcut etching linocut caricature tapestry blueprint diorama postcard"
    " polaroid doodle mural emoji pixelart storybook lithograph print artwork movie film photograph art oil-painting"
)
"""What a whole picture can become."""
KEEPS_OUTLINE = frozenset({"colour", "material", "surface", "tone", "water", "sky"})
"""Classes of qualities that leave a thing its outline."""
