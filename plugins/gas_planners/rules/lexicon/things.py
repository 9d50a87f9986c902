"""Things of which a rule has to know more than that they are things."""

from __future__ import annotations

from gas_planners.rules.lexicon.closed import word_set

MASS = word_set(
    "grass snow sand water ice mud dirt gravel asphalt concrete air fog mist rain smoke fire hair fur wool wood"
    " gold silver bronze copper iron steel metal glass plastic paper leather marble stone chocolate rice bread milk"
    " coffee tea beer wine juice soup salad salmon meat beef pork cheese butter sugar salt pepper flour fruit"
    " parsley broccoli lettuce spinach food clothing furniture jewelry jewellery traffic graffiti moss lava foliage"
    " clay hay corn wheat pasta spaghetti sushi bacon ham cotton silk velvet lego lightning sunlight moonlight light"
    " dust earth soil land weather autumn winter summer spring day night ground-cover greenery vegetation ivy"
    " sunshine darkness text writing makeup curry porcelain trash garbage rubbish litter dandruff acne whipped-cream"
    " cream honey ketchup mustard frost steam haze smog hail ash blood sweat foam straw bamboo denim wool lace confetti"
    " cola coke lemonade popcorn candy equipment scenery signage clutter debris"
)
PLURAL_ONLY = word_set(
    "glasses sunglasses trousers jeans pants shorts scissors clothes stairs leggings tights headphones goggles"
    " binoculars people men women children police cattle mice geese feet teeth sheep fish deer pliers tweezers pajamas"
    " pyjamas overalls spectacles earphones bison"
)
ONE_THING = word_set(
    "glasses sunglasses trousers jeans pants shorts scissors clothes stairs leggings tights headphones goggles"
    " binoculars pliers tweezers pajamas pyjamas overalls spectacles earphones surroundings outskirts contents remains"
    " braces news"
)
"""Plural words for one thing: their plural says nothing about how many there are."""
SINGULAR_TOO = word_set("sheep fish deer bison")
ANIMALS = word_set(
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
GROUNDS = word_set(
    "grass lawn meadow snow sand beach desert water dirt mud ground soil road street pavement sidewalk asphalt"
    " floor ice field gravel carpet rug pond lake sea ocean river"
)
SKY = word_set("sky")
IN_THE_SKY = word_set(
    "moon sun star rainbow cloud bird plane airplane aeroplane jet helicopter balloon kite ufo drone eagle airship"
    " aurora"
)
CLOTHING = word_set(
    "hat beard moustache mustache hair glasses sunglasses cap helmet coat jacket shirt dress tie scarf umbrella bag"
    " backpack mask suit tuxedo uniform costume kimono gown robe apron armor armour sweater hoodie swimsuit pajamas"
    " pyjamas jeans skirt blouse t-shirt vest cape spacesuit toga crown boots shoes gloves overalls outfit sari bikini"
    " raincoat jumper cardigan necklace earrings belt turban veil trousers shorts socks bow-tie"
)
PARTS = CLOTHING | word_set(
    "wheel wheels window windows door roof stripe stripes spot spots tail horn horns wing wings ear"
    " ears collar leash handle logo label flag flags"
)
HAIRY = word_set("hair beard moustache mustache fur mane tail grass dress skirt sleeve fringe eyelash nail coat")
"""What can be long or short without another size of the thing that it belongs to."""
PAIRS = {  # two nouns that are one thing
    frozenset(pair.split("+"))
    for pair in word_set(
        "arrow+bow arrows+bows bacon+eggs ball+chain bed+breakfast bread+butter bride+groom bucket+mop bucket+spade"
        " carriage+horse cart+horse chairs+table cheese+crackers cheese+mac child+mother chips+fish coat+hat"
        " cookies+milk cup+saucer cups+saucers daughter+mother eggs+ham father+son fork+knife forks+knives"
        " hammer+sickle jacket+tie key+lock man+woman moon+sun needle+thread oil+vinegar pans+pots paper+pen"
        " pepper+salt shirt+tie suit+tie"
    )
}
ING_NOUNS = word_set(
    "building ceiling painting wedding railing clothing lightning evening morning awning icing dwelling crossing"
    " dressing pudding duckling sapling drawing carving sibling lighting flooring wiring siding roofing frosting"
    " filling topping earring darling gosling fledgling seedling string spring wedding offspring shilling herring"
    " stocking greeting earrings"
)
ABSTRACT = word_set(
    "following scheme palette touch hint tint style mood atmosphere lighting vibe theme season era setting"
    " location angle perspective viewpoint quality resolution noise grain blur contrast brightness saturation"
    " exposure sharpness size height width length position positions pose orientation direction ratio focus zoom"
    " composition framing crop weather ambience aesthetic rest noise warmth depth drama clarity vibrance vibrancy"
    " emotion energy help"
)
"""What is no thing in a picture: nobody can point at it."""
SURFACES = word_set("colour color shade tone paint finish texture surface coating")
"""What a thing has one of: to give it another is to change it."""
TEXTS = word_set(
    "text word words letters lettering sign label number caption title logo writing inscription slogan headline"
)
LY_NOUNS = word_set(
    "italy sicily emily kelly sally billy molly beverly kimberly polly "
    "butterfly dragonfly family jelly lily belly fly bully ally reply assembly trolley doily holly monopoly firefly"
    " housefly tally rally ply supply bully melancholy anomaly"
)
LY_QUALITIES = word_set(
    "friendly ugly curly lovely lonely elderly silly woolly wooly early daily holy jolly ghostly smelly steely burly"
    " bubbly wobbly prickly wrinkly sparkly chilly hilly heavenly deadly lively oily likely costly scaly squiggly"
    " fluffly cuddly frilly pearly crumbly"
)
# First words of two-word nouns: "the wine glass". Elsewhere two nouns side by side may be a thing and a quality.
BEFORE_NOUNS = word_set(
    "wine fire police teddy coffee tea kitchen garden street traffic trash tennis soccer football baseball basketball"
    " dinner birthday christmas wedding school beach palm pine oak hot ice cell mobile computer living dining bed bath"
    " swimming parking sun rain snow rocking sports shopping power frying salt pepper city office race rubber beer soda"
    " milk juice ceiling number license licence stop rail fishing baking running sleeping washing sewing watering"
    " hockey ski garbage rubbish christmas-tree desk desktop"
)
AFTER_SHAPES = word_set(
    "dotted striped printed patterned coloured colored painted plated coated covered shaped themed lined trimmed dyed"
)
"""Qualities that often have a thing before them: "polka dotted"."""
AFTER_NOUNS = word_set(
    "glass stone paper tile tiles brick foil ice fur wood leather metal iron steel canvas mosaic rubber felt oak pine"
    " light blonde brunette"
)
"""Materials that end the name of a thing: "the wine glass", "the kitchen tile"."""
