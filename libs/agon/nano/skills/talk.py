"""Small talk, questions about the model itself, and the polite answer to all that it cannot do."""

from random import Random

from agon.nano.skills.base import Item, loosely, plain, says_one_of, user
from agon.nano.skills.words import NAMES

_TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("Hi", "Hello", "Hey", "Hi there", "Hello there", "Good day", "Greetings", "Howdy", "Hey there", "Hello again",
         "Hi again", "Hello hello", "Yo", "Hi hi", "Hey you"),
        ("Hello! How can I help you?", "Hi! What can I do for you?"),
    ),
    (
        ("Good morning", "A good morning to you", "Morning", "Good morning to you"),
        ("Good morning! How can I help you?",),
    ),
    (("Good evening", "Good evening to you", "A good evening to you"), ("Good evening! How can I help you?",)),
    (
        ("How are you?", "How are you today?", "How do you do?", "How is it going?", "How are you doing?",
         "Are you well?", "How do you feel?", "How are things?", "What's up?", "How are you feeling today?",
         "How have you been?", "Is all well with you?", "How's your day?", "Are you okay?"),
        ("I am fine, thank you. How are you?", "I am well, thank you for asking."),
    ),
    (
        ("Thanks", "Thank you", "Thank you very much", "Thanks a lot", "Many thanks", "Great, thanks", "Cheers",
         "That was helpful", "Thanks for your help", "Well done", "Good job", "Nice", "You are great", "Very good"),
        ("You are welcome!", "Glad to help!"),
    ),
    (
        ("Bye", "Goodbye", "See you", "See you later", "Good night", "Bye bye", "I have to go", "See you tomorrow",
         "Farewell", "Until next time", "Take care", "I must go now"),
        ("Goodbye! Have a nice day.", "See you soon!"),
    ),
    (
        ("I am sad", "I feel bad", "I had a bad day", "I am tired", "I am not well", "I am unhappy", "I feel lonely"),
        ("I am sorry to hear that. Shall I tell you a story?",),
    ),
    (
        ("I am fine", "I am happy", "I am good", "I feel great", "I am very well", "I had a good day", "All is well"),
        ("That is good to hear!",),
    ),
)  # fmt: skip
_ENDINGS = ("", "", "", ", Nano", " my friend", ", my friend", " dear model", ", little one", " today", " friend",
            " bot",
            ", little model", " there")  # fmt: skip


def greeting(rng: Random, level: float) -> Item:
    """Hello, thanks, goodbye, how are you."""
    asked, answers = rng.choice(_TALK)
    text = rng.choice(asked)
    mark = "?" if text.endswith("?") else rng.choice((".", "!", ""))
    ending = rng.choice(_ENDINGS)
    bare = text.rstrip("?")
    if ending.strip() and ending.split()[-1] in bare:
        ending = ""
    if rng.random() < 0.15 and mark == "?":
        bare = f"{rng.choice(('Hi', 'Hello', 'Hey', 'Good morning'))}, {bare[0].lower()}{bare[1:]}"
    if rng.random() < 0.15 and asked is _TALK[0][0]:
        name = rng.choice(NAMES)
        text = f"{bare}, {rng.choice(('I am', 'my name is'))} {name}."
        answer = f"Nice to meet you, {name}!"
        return Item("greeting", text, user(text), answer, says_one_of((answer, *answers)))
    text = f"{bare}{ending}{mark}"
    return Item("greeting", plain(text), user(loosely(rng, text) if len(text) > 2 else text),
                rng.choice(answers), says_one_of(answers))  # fmt: skip


_SELF: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Who are you?", "What are you?", "What is your name?", "What's your name?", "Tell me who you are.",
         "Tell me about yourself.", "Introduce yourself.", "Do you have a name?", "Who am I talking to?",
         "What should I call you?", "Your name?", "What is your name, please?", "Who is this?", "Who are you really?",
         "May I know your name?", "What kind of model are you?", "Hi, who are you?", "And who are you?",
         "Please tell me your name.", "Say who you are.", "Which model are you?"),
        "I am Nano, a very small language model.",
    ),
    (
        ("What can you do?", "How can you help me?", "What are you good at?", "What do you know?", "Help",
         "What can I ask you?", "Which things can you do?", "Can you help me?", "What are your skills?",
         "What can you do for me?", "Show me what you can do.", "What should I ask you?", "I need help.",
         "Tell me what you can do.", "What are you able to do?", "How can you help?", "Give me some help."),
        "I can do small sums, spell and sort words, tell short stories and talk a little.",
    ),
    (
        ("Are you a human?", "Are you a person?", "Are you real?", "Are you a robot?", "Are you alive?",
         "Are you an AI?",
         "Are you a machine?", "Are you a bot?", "Am I talking to a human?", "Are you a real person?",
         "Is there a human here?", "Do you have a body?", "Are you a computer?", "Are you a program?"),
        "I am not a person. I am a small computer program.",
    ),
    (
        ("Who made you?", "Who created you?", "Where do you come from?", "Who trained you?", "How were you made?",
         "Who built you?", "How were you trained?", "Who is your maker?", "Where were you made?", "Who wrote you?",
         "How did you learn this?", "What were you trained on?"),
        "I was trained from nothing on made-up text, on an ordinary computer.",
    ),
    (
        ("How big are you?", "Are you smart?", "Are you clever?", "How smart are you?", "How large are you?",
         "Are you a big model?", "Are you intelligent?", "How many words do you know?", "Do you know everything?"),
        "I am tiny, so I know only a few things.",
    ),
)  # fmt: skip


def identity(rng: Random, level: float) -> Item:
    """Who are you, what can you do."""
    asked, answer = rng.choice(_SELF)
    text = rng.choice(asked)
    if rng.random() < 0.3:
        opening = rng.choice(("Hello, ", "So, ", "Please, ", "Hey, ", "Okay, ", "Tell me, ", "Excuse me, "))
        text = opening + text[0].lower() + text[1:]
    return Item("identity", text, user(loosely(rng, text)), answer, says_one_of((answer,)))
