"""The polite answer to all that a nano model cannot do. Many questions come close to a skill and are none."""

import re
from random import Random

from agon.nano.skills.base import Item, loosely, says_one_of, user
from agon.nano.skills.words import CATEGORIES, NAMES, OTHERS

SORRY = (
    "I am sorry, I do not know that. I am only a very small model.",
    "Sorry, that is too hard for me. I am only a very small model.",
)

_PLACES = ("France", "Italy", "Japan", "Brazil", "Spain", "Egypt", "Canada", "China", "India", "Norway", "Peru",
           "Kenya",
           "Germany", "Mexico", "Poland", "Greece", "Chile", "Texas", "London", "Rome", "Paris", "Tokyo")  # fmt: skip
_FAMOUS = ("Einstein", "Napoleon", "Mozart", "Shakespeare", "Newton", "Cleopatra", "Picasso", "Darwin",
           "Gandhi", "Beethoven", "Caesar", "Plato", "Bach", "Galileo", "Columbus", "Lincoln", "Homer",
           "Marie Curie")  # fmt: skip
_LANGUAGES = ("French", "German", "Spanish", "Italian", "Latin", "Japanese", "Chinese", "Russian", "Dutch", "Greek")
_TOPICS = ("gravity", "quantum physics", "democracy", "the French revolution", "black holes", "photosynthesis",
           "inflation", "the stock market", "evolution", "electricity", "machine learning", "neural networks",
           "the internet", "volcanoes", "the Roman empire", "chess", "football", "climate change", "relativity",
           "the moon", "atoms", "vitamins", "taxes", "philosophy", "economics", "history", "jazz", "Kafka")  # fmt: skip
_CODE = ("Python", "C", "Java", "SQL", "Rust", "HTML", "JavaScript", "Go", "bash")
_DEEDS = ("fix my car", "bake a cake", "cook rice", "lose weight", "learn German", "tie a tie", "buy a house",
          "find a job", "sleep better", "play chess", "grow tomatoes", "make money", "build a boat", "run faster",
          "paint a wall", "write a book", "open a bank account", "install Linux", "train a dog")  # fmt: skip

_TEMPLATES = (
    "What is the capital of {place}?", "How many people live in {place}?", "Where is {place}?", "How big is {place}?",
    "Who is the president of {place}?", "What is the weather in {place}?", "What language do they speak in {place}?",
    "Tell me about {place}.", "Is {place} nice?", "How far is it to {place}?", "What is the best food in {place}?",
    "Who was {famous}?", "When was {famous} born?", "What did {famous} do?", "Tell me about {famous}.",
    "Is {famous} still alive?", "Where did {famous} live?", "Why is {famous} famous?", "Who is {famous}?",
    "Translate {word} into {language}.", "How do you say {word} in {language}?",
    "Translate this into {language}: {word}",
    "Do you speak {language}?", "What does {word} mean in {language}?", "Say hello in {language}.",
    "Explain {topic}.", "What is {topic}?", "How does {topic} work?", "Tell me about {topic}.",
    "Why is {topic} important?",
    "Write an essay about {topic}.", "Explain {topic} to a child.", "What do you think about {topic}?",
    "Can you explain {topic}?", "Give me a summary of {topic}.", "I want to learn about {topic}.",
    "Who invented {topic}?",
    "Write a {code} program.", "Write a function in {code}.", "What is wrong with my {code} code?", "Teach me {code}.",
    "How do I sort a list in {code}?", "Debug this {code} code.", "Which is better, {code} or {code2}?",
    "How do I {deed}?", "Can you help me to {deed}?", "I want to {deed}.", "What do I need to {deed}?",
    "Can you {deed}?", "Help me {deed}.", "What is the best way to {deed}?", "Should I {deed}?",
    "What is the meaning of {word}?", "Define {word}.", "What does {word} mean?", "Use {word} in a sentence.",
    "What rhymes with {word}?", "Write a poem about a {word}.", "Tell me a joke about a {word}.", "Draw a {word}.",
    "What color is a {word}?", "How much does a {word} cost?", "Where can I buy a {word}?",
    "Why do we need a {word}?",
    "How is a {word} made?", "What is a {word}?", "How heavy is a {word}?", "Do you like my {word}?",
    "Write a song about a {word}.", "Is a {animal} dangerous?", "How long does a {animal} live?",
    "What does a {animal} eat?",
    "How fast is a {animal}?", "Where do {animal}s live?", "Can a {animal} swim?",
    "How many teeth does a {animal} have?",
    "What is the square root of {n}?", "What is {n} divided by {m}?", "Divide {n} by {m}.", "Is {n} a prime number?",
    "What is {n} percent of {m}?", "{n} / {m}", "What is {n} to the power of {m}?", "Solve x + {n} = {m}.",
    "Convert {n} dollars to euros.", "How many days are in {n} weeks?", "What is {n} in Roman numerals?",
    "How tall is {name}?", "How old is {name}?", "Where does {name} live?", "What is {name}'s job?", "Who is {name}?",
    "What pet does {name} have?", "What does {name} like to eat?", "Is {name} married?", "Do you know {name}?",
    "What time is it?", "What day is it today?", "What is the weather today?", "Tell me a joke.", "Sing a song.",
    "Why is the sky blue?", "What is the meaning of life?", "Who won the game?", "Write a poem.", "What is love?",
    "What is the news today?", "Recommend a good book.", "What should I cook tonight?", "Do you love me?",
    "How many stars are there?", "Give me a recipe.", "What is your favorite color?", "What is your favorite movie?",
    "How old are you?", "Where do you live?", "Do you dream?", "Are you afraid of the dark?", "Do you like music?",
    "What is the highest mountain?", "What is the longest river?", "When did the war end?", "Who painted this?",
    "What is the tallest building?", "How deep is the sea?", "What is the speed of light?", "When is Christmas?",
    "Book me a flight to {place}.", "Send an email to {name}.", "Write a letter to my boss.", "Write a haiku.",
    "Summarize this text for me.", "What is my password?", "What is the best phone?", "Will it rain tomorrow?",
    "Why do cats purr?", "Why do birds sing?", "Why is grass green?", "Why are you so small?", "Flip a coin.",
    "Pick a number between 1 and {n}.", "Roll a die.", "Play a game with me.", "Tell me a secret.", "Guess my age.",
    "Tell me something interesting.", "Tell me a fact about {place}.", "Tell me a riddle.", "Make me laugh.",
    "What happened in {year}?", "Who was king in {year}?", "What will happen in {year}?", "Was {year} a good year?",
    "{topic}", "{place}?", "{famous}", "Something about {topic}, please.", "I have a question about {topic}.",
)  # fmt: skip


def fallback(rng: Random, level: float) -> Item:
    """A question that needs more than a nano model has."""
    template = rng.choice(_TEMPLATES)
    code, code2 = rng.sample(_CODE, 2)
    text = template.format(
        place=rng.choice(_PLACES),
        famous=rng.choice(_FAMOUS),
        language=rng.choice(_LANGUAGES),
        topic=rng.choice(_TOPICS),
        code=code,
        code2=code2,
        deed=rng.choice(_DEEDS),
        word=rng.choice(OTHERS),
        animal=rng.choice(CATEGORIES["animals"]),
        name=rng.choice(NAMES),
        n=rng.randint(2, 200),
        m=rng.randint(2, 30),
        year=rng.randint(1200, 2030),
    )
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    return Item("fallback", text, user(loosely(rng, text[0].upper() + text[1:])), rng.choice(SORRY), says_one_of(SORRY))
