"""The words that the skills are made of, and made-up words for drills."""

from random import Random

CATEGORIES: dict[str, tuple[str, ...]] = {
    "animals": ("cat", "dog", "fox", "bear", "horse", "mouse", "owl", "frog", "goat", "rabbit", "duck", "lion"),
    "fruits": ("apple", "pear", "plum", "banana", "cherry", "grape", "lemon", "peach", "melon", "orange"),
    "vegetables": ("carrot", "onion", "potato", "bean", "cabbage", "pumpkin", "tomato", "leek", "radish"),
    "colors": ("red", "blue", "green", "yellow", "white", "black", "brown", "purple", "pink", "gray"),
    "clothes": ("hat", "coat", "shirt", "sock", "shoe", "scarf", "glove", "belt", "dress", "boot"),
    "tools": ("hammer", "saw", "drill", "rake", "shovel", "knife", "brush", "ladder", "wrench"),
    "drinks": ("water", "milk", "tea", "coffee", "juice", "soup", "cocoa", "cider"),
    "musical instruments": ("piano", "drum", "flute", "violin", "guitar", "harp", "horn", "trumpet"),
    "pieces of furniture": ("table", "chair", "bed", "lamp", "shelf", "desk", "bench", "stool", "mirror"),
    "trees": ("oak", "pine", "birch", "maple", "willow", "cedar", "elm", "ash"),
}

OTHERS = tuple(
    """
    river mountain garden window bottle paper school forest island bridge castle planet rocket winter summer spring
    autumn market doctor farmer teacher sailor king queen letter number button basket blanket candle clock cloud
    corner cousin desert dinner engine family feather finger flower friend ghost giant glass hill honey house
    insect jacket kettle kitchen ladybug library magic meadow minute moment monkey month morning needle ocean
    parrot pencil pepper picnic pillow pirate pocket pond prince puzzle rain ring road robot rope sand season
    secret shadow sheep ship silver sister snow song spider star stone storm story street sugar sun ticket tiger
    tower town train treasure tunnel turtle uncle valley village voice wagon wall whale wheel whistle wind wizard
    wolf wood world yard zebra brother branch brick bucket butter camel circle coin cotton crown dragon dream eagle
    earth fence field fire fish flag floor game gate gift gold grass hand heart holiday ice iron jungle kite lake
    leaf light lock map mask moon mud nail neck nest net night noise north nose note page paint palace party path
    people plant plate poem port price rice roof root salt scale seed shell shore sign skin sky sleep smile snake
    soap soil south space spoon stage stem step stick stool tail tape tent test throat thumb tiger toe tooth town
    trade truck vase wave weather week wing wire worm wrist year zone apron arrow artist bacon badge ballet barn
    beach beard beaver beetle bell berry bike bird blade bone border bowl bracelet brain bread breakfast breeze
    """.split()  # noqa: SIM905
)

WORDS = tuple(sorted({*OTHERS, *(word for words in CATEGORIES.values() for word in words)}))
ADJECTIVES = (
    "red", "big", "small", "old", "new", "happy", "quiet", "green", "little", "warm", "cold", "soft", "brave", "kind",
)  # fmt: skip
VERBS = ("sleeps", "runs", "sings", "eats", "waits", "plays", "jumps", "reads", "smiles", "sits", "walks", "swims")
GIRLS = ("Anna", "Emma", "Lily", "Mia", "Nora", "Rosa", "Sara", "Zoe", "Ella", "Kate", "Lucy", "Ruth")
BOYS = ("Ben", "Tom", "Max", "Leo", "Sam", "Jack", "Paul", "Tim", "Oscar", "Hugo", "Fred", "Dan")
NAMES = GIRLS + BOYS

_STARTS = "b c d f g h j k l m n p r s t v w z bl br ch cl cr dr fl fr gl gr pl pr sh sl sp st th tr wh".split()  # noqa: SIM905
_MIDDLES = "a e i o u ea oo ai ou".split()  # noqa: SIM905
_ENDS = ["", "", *"b d g k l m n p r s t ck ll ng nd nt rk rt sh st x y".split()]  # noqa: SIM905


def with_article(noun: str) -> str:
    """As in an owl, a fox."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def any_word(rng: Random) -> tuple[str, bool]:
    """A word, and whether it was made up: half are, so that spelling is learned and not a list of words."""
    if rng.random() < 0.5:
        return rng.choice(WORDS), False
    syllables = rng.randint(1, 3)
    made = "".join(rng.choice(_STARTS) + rng.choice(_MIDDLES) + rng.choice(_ENDS) for _ in range(syllables))[:10]
    return made, made not in WORDS
