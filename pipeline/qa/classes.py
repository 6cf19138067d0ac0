"""General words and the kinds of things that they name: whoever asks for an animal is answered with a cat."""

from collections.abc import Sequence

from pipeline.qa.words import stem, word_list

ANIMALS = """animal cat kitten dog puppy bird fish horse cow bull calf sheep lamb goat pig rabbit hare mouse rat bear wolf fox deer
lion tiger leopard elephant monkey ape giraffe zebra camel donkey snake lizard turtle frog spider insect bee butterfly
beetle ant fly crab lobster whale dolphin seal shark duck goose swan hen chicken rooster eagle hawk owl parrot penguin
gull pigeon squirrel hedgehog antelope kangaroo ibex"""
VEHICLES = """vehicle car truck lorry van bus coach tram train bicycle bike motorcycle motorbike scooter taxi ambulance tractor
forklift boat ship ferry yacht aircraft airplane plane helicopter rocket wagon"""
DRINKS = "drink coffee espresso tea water milk beer wine juice lemonade cocoa cola"
MEMBERS = {
    "animal": ANIMALS,
    "creature": ANIMALS,
    "pet": "pet cat kitten dog puppy rabbit hamster parrot goldfish",
    "bird": "bird duck goose swan hen chicken rooster eagle hawk owl parrot penguin gull pigeon robin sparrow crow stork crane",
    "insect": "insect bee butterfly beetle ant fly wasp moth dragonfly",
    "vehicle": VEHICLES,
    "building": """building tower house church castle palace mosque temple pagoda barn cottage hut skyscraper lighthouse monastery library
school hospital factory garage hotel""",
    "drink": DRINKS,
    "beverage": DRINKS,
    "fruit": "fruit apple pear orange lemon banana strawberry cherry grape plum peach melon pineapple fig",
    "vegetable": "vegetable broccoli cauliflower carrot potato tomato cucumber cabbage onion pepper bean pea lettuce",
    "food": "food bread cake pizza burger soup rice pasta meat fish cheese egg salad sandwich pie biscuit cookie ice",
    "instrument": "instrument piano violin guitar drum flute trumpet saxophone cello harp organ accordion harpsichord",
    "furniture": "furniture table chair sofa couch bed desk cupboard shelf wardrobe bench stool",
    "person": "person man woman boy girl child people baby gentleman lady somebody someone",
    "flower": "flower rose tulip dahlia daisy sunflower lily orchid peony poppy",
    "sport": "sport football soccer tennis basketball hockey swimming surfing cycling running skiing golf cricket rugby volleyball",
    "weather": "weather rain snow sun sunny fog wind windy storm cloud cloudy wet hail",
}
TWINS = """lorry truck|plane airplane aeroplane|bicycle bike|motorcycle motorbike|cup mug|sofa couch|phone telephone|tv television|
fridge refrigerator"""
"""Two names of one thing; a puppy is a dog, but a dog need be no puppy."""
_TWINS = {stem(word): number for number, words in enumerate(TWINS.split("|")) for word in words.split()}
KINDS_OF = {stem(general): frozenset(stem(member) for member in word_list(members)) for general, members in MEMBERS.items()}


OF_ANOTHER_KIND = frozenset((stem(one), stem(two)) for one, two in (("computer", "mouse"), ("teddy", "bear"), ("hot", "dog")))
"""Names of two words of which the second alone names something of another kind."""


def by_themselves(words: Sequence[str]) -> list[str]:
    """The words that name something by themselves: not the mouse of a computer, which is no animal."""
    pairs = zip(("", *map(stem, words)), map(stem, words), words, strict=False)
    return [word for before, own, word in pairs if (before, own) not in OF_ANOTHER_KIND]


def is_kind_of(word: str, general: str) -> bool:
    """Whether a word names one of the things that another stands for: "dog" for "animal", and "lorry" for "truck"."""
    one, other = stem(word), stem(general)
    return one in KINDS_OF.get(other, frozenset()) or (one in _TWINS and _TWINS[one] == _TWINS.get(other))


SAME = """dog puppy|cat kitten|ship boat ferry yacht|lorry truck|plane airplane aircraft|bicycle bike|bus coach|
motorcycle motorbike scooter|coffee espresso|cow bull calf|sheep lamb|hen chicken rooster|football soccer|rabbit hare|mouse rat|
monkey ape"""
APART = (
    ANIMALS,
    VEHICLES,
    DRINKS,
    MEMBERS["fruit"],
    MEMBERS["vegetable"],
    MEMBERS["instrument"],
    MEMBERS["sport"],
    "monday tuesday wednesday thursday friday saturday sunday",
    "january february march april may june july august september october november december",
    "breakfast lunch dinner supper",
    "english french german spanish italian polish portuguese dutch danish swedish norwegian finnish "
    "russian chinese japanese korean arabic greek",
    "mother father brother sister son daughter husband wife uncle aunt cousin grandmother grandfather",
    "north south east west",
    "spring summer autumn winter",
    "first last",
)
"""Things of one kind that are not each other, however alike their names are: a train is no bus."""
_GENERAL = frozenset(stem(general) for general in MEMBERS)
_ONE = {stem(word): number for number, words in enumerate(SAME.split("|")) for word in words.split()}
_KIN = tuple(frozenset(stem(word) for word in words.split()) - _GENERAL for words in APART)


def is_another(word: str, other: str) -> bool:
    """Whether two words name two things of one kind: "dog" and "cat", not "dog" and "puppy", nor "dog" and "animal"."""
    one, two = stem(word), stem(other)
    if one == two or (one in _ONE and _ONE[one] == _ONE.get(two)):
        return False
    return any(one in kin and two in kin for kin in _KIN)
