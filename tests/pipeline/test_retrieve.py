"""The rules from a question to evidence: reading it, fusing rankings, whole sentences, signs."""

import pytest

from pipeline.memory.store import Found, Hits, Kind, Moment, Span
from pipeline.qa.premise import knows, premise
from pipeline.qa.question import Want, contains, is_question, kinds, read
from pipeline.qa.retrieve import around, distinct, fuse, whole_sentence
from pipeline.qa.support import SUPPORTED, Candidate, essence, score, signs, standard, vocabulary
from pipeline.qa.words import content, stem, tokens
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit


def moment(text: str, start: float = 0, end: float | None = None, kind: Kind = Kind.SPEECH) -> Moment:
    begin = MediaTime.of(start)
    return Moment("s", f"{kind.name}-{begin.millis}", kind, 0, text, begin, MediaTime.of(start + 2 if end is None else end), "m")


A, B, C = moment("a", 0), moment("b", 3), moment("c", 6, kind=Kind.DESCRIPTION)


def ranked(*moments: Moment) -> tuple[Found, ...]:
    return tuple(Found(each, 0.5) for each in moments)


def test_what_stands_high_in_both_rankings_wins_and_meaning_counts_more_than_words():
    assert [each.moment for each in fuse(Hits(ranked(A, B), ranked(B, C)))] == [B, C, A]


def test_pictures_that_are_described_alike_are_looked_at_once_and_speech_always():
    scenes = [
        moment(text, start, kind=Kind.DESCRIPTION)
        for start, text in ((0, "A red boat at a pier."), (9, "A red boat at a pier"), (20, "Gulls."))
    ]
    said = [moment("Yes.", 1), moment("Yes.", 5)]
    assert [each.moment for each in distinct(ranked(*scenes, *said))] == [scenes[0], scenes[2], *said]


def test_each_moment_comes_once_and_no_more_than_asked():
    assert [each.moment for each in fuse(Hits(ranked(A, B, C), ranked(A, B, C)), limit=2)] == [A, B]
    assert fuse(Hits((), ())) == []


def test_a_kind_that_the_question_names_comes_first():
    hits = Hits((), ranked(A, B, C))
    assert [each.moment for each in fuse(hits, {Kind.DESCRIPTION})] == [C, A, B]
    assert [each.moment for each in fuse(hits)] == [A, B, C]


def test_equal_ranks_are_ordered_by_time():
    assert [each.moment for each in fuse(Hits(ranked(B), ranked(A)))] == [A, B]


def test_a_sentence_that_goes_on_is_made_whole():
    line = [moment("The harbour conference", 0), moment("opens on Monday", 2.5), moment("at nine.", 5), moment("Next.", 7.5)]
    whole = whole_sentence(line[1], line)
    assert whole.text == "The harbour conference opens on Monday at nine."
    assert (whole.start.seconds, whole.end.seconds, whole.id) == (0, 7, line[1].id)
    assert whole_sentence(line[3], line) == line[3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (moment("It is done.", 0), moment("and more", 2.5)),
        (moment("It goes on", 0), moment("after a silence", 4)),
        (moment("It goes on", 0, 12), moment("and on for too long", 12.5, 25)),
    ],
    ids=["ended by a mark", "ended by a silence", "would be too long"],
)
def test_a_sentence_ends(one, other):
    assert whole_sentence(one, [one, other]) == one


def test_descriptions_stand_for_themselves():
    picture = moment("a long quay", 0, kind=Kind.DESCRIPTION)
    assert whole_sentence(picture, [moment("said", 2.5)]) == picture


def test_the_rest_of_a_sentence_is_looked_for_only_in_the_span_asked_about():
    assert around(moment("x", 30), Span(MediaTime.of(25))) == Span(MediaTime.of(25), MediaTime.of(52))
    assert around(moment("x", 30), Span()) == Span(MediaTime.of(10), MediaTime.of(52))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What does the speaker say about rain?", {Kind.SPEECH}),
        ("What does the sign say?", {Kind.ON_SCREEN_TEXT}),
        ("What is written on the slide?", {Kind.ON_SCREEN_TEXT}),
        ("What is shown in the picture?", {Kind.DESCRIPTION}),
        ("When does the bus leave?", set()),
    ],
)
def test_the_wording_tells_where_the_answer_stands(question, expected):
    assert kinds(question) == expected


@pytest.mark.parametrize(
    ("question", "want"),
    [
        ("When does it open?", Want.TIME),
        ("What time is it?", Want.TIME),
        ("Who came when it rained?", Want.PERSON),
        ("Where do people go when it rains?", Want.PLACE),
        ("How many boats are there?", Want.NUMBER),
        ("How much does a ticket cost?", Want.MONEY),
        ("By how much did it grow?", Want.NUMBER),
        ("How long does it take?", Want.DURATION),
        ("How old is she?", Want.AGE),
        ("How tall is the tower?", Want.LENGTH),
        ("How warm is it?", Want.DEGREES),
        ("How fast is the ship?", Want.SPEED),
        ("What colour is the cup?", Want.COLOUR),
        ("Why is it closed?", Want.REASON),
        ("What is Ann's last name?", Want.SURNAME),
        ("What is Ann's phone number?", Want.CONTACT),
        ("What was the workers' wage?", Want.MONEY),
        ("Is it open?", None),
    ],
)
def test_a_question_wants_one_sort_of_thing(question, want):
    ask = read(question).ask
    assert (ask.want if ask else None) == want


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        ("When does it open?", "It opens at half past seven.", True),
        ("When does it open?", "It was built in 1995.", True),
        ("When does it open?", "It opens for three people.", False),
        ("When is the Monday meeting?", "The Monday meeting is cancelled.", False),
        ("Who made it?", "It was made by David.", True),
        ("Who made it?", "It was made by a baker.", True),
        ("Who made it?", "Rosa, our guide, did.", True),
        ("Who made it?", "It was made in May.", False),
        ("Who is Ruby?", "The name is Ruby.", False),
        ("How many are there?", "There are sixty of them.", True),
        ("How many are there?", "It is one of the best.", False),
        ("How much does it cost?", "It costs 25 pounds.", True),
        ("How much does it cost?", "A ticket costs £25.", True),
        ("How much does it cost?", "It weighs 25 kilograms.", False),
        ("How long does it take?", "It takes about an hour.", True),
        ("What colour is it?", "A red cup.", True),
        ("What colour is it?", "A tired cup.", False),
        ("Why is it closed?", "It is closed because of rain.", True),
        ("What is Ann's surname?", "This is Ann Berg.", True),
        ("What is Ann's surname?", "Hello, I am Ann, your guide.", False),
        ("What is Ann's surname?", "Elena Marsh will command the ship.", True),
        ("What is the captain's last name?", "The Ferry Company sells tickets.", False),
        ("What is the captain's last name?", "We are from the Ferry Company.", False),
        ("What is the captain's last name?", "At Monday Morning we ate.", False),
        ("What is the captain's last name?", "Hello Rosa.", False),
        ("What is the phone number?", "We charge 12345 pounds.", False),
        ("What is the phone number?", "It costs €123456.", False),
        ("What is the phone number?", "It costs one hundred twenty five pounds.", False),
        ("What is the phone number?", "The number is 0123 456789.", True),
        ("What is the phone number?", "Call 555 12 34.", True),
        ("What is the phone number?", "Ring five five one two now.", True),
        ("What is the phone number?", "The phone has two cameras.", False),
        ("Which website is it?", "Find us on harbour.org.", True),
        ("Which website is it?", "The website has two languages.", False),
        ("Is it open?", "Anything.", None),
    ],
)
def test_what_is_wanted_is_there_or_not(question, text, expected):
    assert contains(text, read(question)) is expected


def test_words_that_only_ask_do_not_have_to_be_met():
    assert read("What colour is the astronaut's suit?").words == ("astronaut", "suit")
    assert read("What does the warning sign say?").words == ("warning",)
    assert read("What is shown?").words == ()


@pytest.mark.parametrize(
    "forms",
    [
        "open opens opened opening",
        "city cities",
        "flies fly flew",
        "stop stopped stops",
        "make makes made making",
        "ticket tickets",
        "begin began begins",
    ],
)
def test_forms_of_a_word_have_one_stem(forms):
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize(("one", "other"), [("bus", "busy"), ("glass", "glas"), ("rain", "train"), ("news", "new")])
def test_other_words_keep_theirs(one, other):
    assert stem(one) != stem(other) or other == "new"


def test_words_are_taken_from_any_text():
    assert tokens("The cat’s Übung — 日本語, 3.5") == ["the", "cat", "übung", "日本語", "3", "5"]
    assert content("Where is the ferry, the FERRY?") == ["ferry"]
    assert content("") == []


def candidate(text: str, context: str = "", *, cosine: float = 0.5, kind: Kind = Kind.SPEECH) -> Candidate:
    return Candidate(moment(text, kind=kind), context, cosine)


def unlike(one: str, other: str) -> float:
    return 0.2


def test_signs_of_a_good_answer_and_of_a_near_miss():
    question = read("How many passengers does the ferry carry?")
    good = signs(question, candidate("The ferry carries two hundred passengers."), unlike)
    miss = signs(question, candidate("The ferry carries mail."), unlike)
    assert (good.coverage, good.least, good.focus, good.has, good.lacks) == (1, 1, 1, 1, 0)
    assert (miss.least, miss.focus, miss.has, miss.lacks) == (0.2, 0.2, 0, 1)
    assert score(miss) < SUPPORTED < score(good)


def test_what_a_moment_refers_to_counts_nearly_as_its_own():
    question = read("Where do the cranes come from?")
    alone = signs(question, candidate("They fly in from Finland."), unlike)
    helped = signs(question, candidate("They fly in from Finland.", "Cranes come here in autumn."), unlike)
    assert alone.coverage < helped.coverage <= 0.9
    assert (alone.refers, signs(question, candidate("Cranes fly in."), unlike).refers) == (1, 0)


def test_a_word_that_all_candidates_have_tells_less_than_a_rare_one():
    question = read("What does the phone lack?")
    texts = [candidate(f"The phone has {what}.") for what in ("a lens", "two colours", "a case")] + [candidate("They lack a jack.")]
    measured = standard(question, texts, unlike, [each.moment.text for each in texts])
    common, rare = (signs(question, texts[number], unlike, measured) for number in (0, 3))
    assert common.coverage == rare.coverage
    assert common.rare < rare.rare
    assert measured.known == 1


def test_a_named_kind_speaks_for_and_against():
    question = read("What does the sign say about mud?")
    assert signs(question, candidate("Deep mud", kind=Kind.ON_SCREEN_TEXT), unlike).hint == 1
    assert signs(question, candidate("Deep mud"), unlike).hint == -1
    assert signs(read("Is there mud?"), candidate("Deep mud"), unlike).hint == 0


def test_likeness_is_asked_only_for_known_words():
    question, texts = read("Where is the ferry now?"), [candidate("A boat leaves.", "From the quay.")]
    known = vocabulary(question, texts)

    def similarity(one: str, other: str) -> float:
        assert {one, other} <= set(known)
        return 0.4

    assert signs(question, texts[0], similarity).least == pytest.approx(0.4)


def test_a_general_word_is_met_by_one_of_its_kinds():
    question = read("Which animal sleeps?")
    assert signs(question, candidate("A cat sleeps."), unlike).least == 0.95
    assert signs(question, candidate("A stone sleeps."), unlike).least == 0.2


def test_a_colour_counts_for_what_it_belongs_to():
    question = read("What colour is the suit?")
    for text in ("An orange space suit.", "The suit is orange."):
        assert signs(question, candidate(text), unlike).focus == 1
    assert signs(question, candidate("A suit beside the orange curtain of a shop."), unlike).focus <= 0.5


@pytest.mark.parametrize(
    ("question", "texts", "expected"),
    [
        ("What does Elena say?", ["Helena speaks."], True),
        ("What does Councillor Smith say?", ["The councillor speaks."], False),
        ("What happened in 1969?", ["It flew in nineteen sixty nine."], True),
        ("What happened in 1969?", ["It flew in 1995."], False),
        ("Who paid the 1,000 pounds?", ["He paid one thousand pounds."], True),
        ("Who paid one thousand pounds?", ["He paid £1,000."], True),
        ("Who paid the 1,000 pounds?", ["He paid 2,000 pounds."], False),
        ("What does a ticket cost?", [""], True),
    ],
)
def test_who_and_what_a_question_takes_for_granted(question, texts, expected):
    assert knows(texts, premise(question)) is expected


def test_what_a_description_made_of_tags_recognises():
    assert (
        essence("Tags: probably a building (0.78, most like a bell tower); mostly grey; some movement.")
        == "a building most like a bell tower"
    )
    assert essence("A red boat.") == "A red boat."
    assert signs(
        read("How many cats are there?"), candidate("Tags: probably a cat (0.95); mostly brown.", kind=Kind.DESCRIPTION), unlike
    ).lacks


def test_a_question_without_words_has_signs_too():
    assert 0 <= score(signs(read("Why?"), candidate("Because."), unlike)) <= 1


def test_another_thing_of_the_same_kind_is_doubted():
    question = read("When does the last train leave?")
    assert signs(question, candidate("The last bus leaves at half past seven."), unlike).doubted == 1
    assert signs(question, candidate("The last train leaves at seven, the bus at eight."), unlike).doubted == 0
    assert signs(read("Where is the puppy?"), candidate("The dog is in the garden."), unlike).doubted == 0
    assert signs(read("What animal is it?"), candidate("It is a cat."), unlike).doubted == 0
    assert signs(read("Who built it?"), candidate("Tags: probably a building (0.76).", kind=Kind.DESCRIPTION), unlike).doubted == 1


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Why did you stop?", True),
        ("and how deep do you go today", True),
        ("what's next for you", True),
        ("when it reaches the surface we call it lava", False),
        ("When we arrived, it rained.", False),
        ("i was eleven", False),
    ],
)
def test_a_sentence_that_asks_is_known_without_its_mark(text, asks):
    assert is_question(text) is asks


def test_a_name_is_met_by_who_speaks_of_themselves():
    question = read("Who taught Marta to dive?")
    own = signs(question, candidate("my grandfather taught me to dive"), unlike)
    assert own.coverage > signs(question, candidate("a grandfather taught people to dive"), unlike).coverage
