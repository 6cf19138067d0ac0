"""The 80 kinds of things of COCO, as the detector labels them and as people call them."""

from dataclasses import dataclass

_COCO = """
person = person / people : human / somebody / someone / anybody / anyone
bicycle : bike
car
motorcycle : motorbike
airplane = plane : airplane / aeroplane / aircraft
bus = / buses : coach
train
truck : lorry
boat : ship
traffic light
fire hydrant : hydrant
stop sign
parking meter
bench = / benches
bird
cat
dog
horse
sheep = / sheep
cow
elephant
bear
zebra
giraffe
backpack : rucksack
umbrella
handbag : bag / purse
tie : necktie
suitcase
frisbee
skis = pair of skis / pairs of skis : ski / skis
snowboard
sports ball = ball
kite
baseball bat
baseball glove
skateboard
surfboard
tennis racket : racket
bottle
wine glass = / wine glasses
cup : mug
fork
knife = / knives
spoon
bowl
banana
apple
sandwich = / sandwiches
orange
broccoli = head of broccoli / heads of broccoli : broccoli
carrot
hot dog = hotdog
pizza
donut : doughnut
cake
chair
couch = sofa : couch
potted plant
bed
dining table = table
toilet
tv = screen : tv / television / monitor
laptop : notebook
mouse = computer mouse / computer mice
remote = remote control : remote
keyboard
cell phone = phone : cellphone / mobile / smartphone / telephone
microwave
oven
toaster
sink
refrigerator : fridge
book
clock
vase
scissors = pair of scissors / pairs of scissors : scissors
teddy bear = teddy : teddy
hair drier = hairdryer
toothbrush = / toothbrushes
"""
"""A line each, in the order of the maps: label = one / many : other names for the same. What is left out follows from the rest."""


@dataclass(frozen=True)
class Named:
    """A kind of thing in words."""

    label: str
    """What the detector calls it."""
    one: str
    many: str
    others: tuple[str, ...]
    """Other names for just the same."""


def _named(line: str) -> Named:
    names, _, others = line.partition(":")
    label, _, spoken = names.partition("=")
    one, _, many = (part.strip() for part in spoken.partition("/"))
    one = one or label.strip()
    return Named(label.strip(), one, many or f"{one}s", tuple(filter(None, map(str.strip, others.split("/")))))


THINGS = {named.label: named for named in map(_named, _COCO.strip().splitlines())}
LABELS = tuple(THINGS)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def counted(label: str, number: int, *, adjective: str = "") -> str:
    """So many of a kind, in words: "a blue cup", "two people"."""
    named = THINGS[label]
    if number == 1:
        said = f"{adjective} {named.one}".strip()
        return f"{'an' if said[0] in 'aeiou' else 'a'} {said}"
    how_many = NUMBERS[number] if number < len(NUMBERS) else str(number)
    return " ".join(filter(None, (how_many, adjective, named.many)))
