"""What a home assistant hears, and what is meant. A quarter of the phrasings and of the words is held out."""

from phrases import invented, split, split_phrasings

OPENINGS = ["", "", "", "please ", "hey, ", "could you ", "can you please ", "I want you to ", "now ", "ok, ",
            "would you "]  # fmt: skip
CLOSINGS = ["", "", "", " please", " for me", " thanks", " now", " if you can"]
SLOTS = {
    "time": ["seven", "6 am", "7:30", "noon", "half past eight", "midnight", "quarter to ten", "5:45 pm",
    "nine tonight",
             "ten in the morning", "eleven", "3 pm", "8:15", "four o'clock", "dawn", "6:20"],
    "duration": ["ten minutes", "an hour", "30 seconds", "two hours", "a quarter of an hour", "45 minutes",
    "90 seconds",
                 "half an hour", "five minutes", "a minute"],
    "day": ["tomorrow", "today", "on monday", "on friday", "this weekend", "tonight", "next week", "on sunday",
            "this evening", "on tuesday", "on saturday morning"],
    "city": ["london", "paris", "berlin", "oslo", "madrid", "new york", "tokyo", "vienna", "lisbon", "chicago", "rome",
             "prague", "dublin", "athens", "san francisco", "hamburg", "kyoto", "geneva"],
    "artist": ["the beatles", "mozart", "miles davis", "adele", "nina simone", "queen", "bach", "daft punk",
    "radiohead",
               "johnny cash", "abba", "billie holiday", "the kinks", "bob marley"],
    "genre": ["jazz", "rock", "classical music", "some blues", "techno", "folk songs", "reggae", "a piano sonata",
              "soul", "hip hop", "an opera", "country"],
    "person": ["mum", "anna", "john", "my brother", "dr smith", "the office", "peter", "grandma", "maria", "my boss",
               "thomas", "aunt julia", "the plumber", "omar", "sophie", "the dentist"],
    "message": ["I am late", "dinner is ready", "happy birthday", "call me back", "we are on our way", "see you soon",
                "the train is delayed", "I love you", "the meeting moved", "good luck", "bring some bread"],
    "room": ["kitchen", "bedroom", "living room", "hall", "bathroom", "garage", "garden", "attic", "office", "cellar"],
    "food": ["italian", "thai", "mexican", "sushi", "indian", "vegan", "pizza", "french", "korean", "tapas", "seafood"],
    "people": ["two", "four", "six people", "three persons", "eight", "a party of five", "ten guests",
               "me and my wife"],
    "item": ["milk", "eggs", "bread", "apples", "coffee", "batteries", "soap", "rice", "two lemons", "tomatoes",
             "butter", "a box of tea", "dog food", "onions", "toothpaste"],
    "language": ["french", "german", "spanish", "japanese", "italian", "latin", "polish", "greek", "arabic", "dutch"],
    "word": ["good morning", "thank you", "where is the station", "cat", "water", "how are you", "goodbye", "cheese",
             "one ticket", "friend", "butterfly"],
    "place": ["the airport", "the museum", "home", "work", "the nearest bank", "the central station", "the hospital",
              "the zoo", "a pharmacy", "the beach", "city hall", "the library", "a petrol station"],
}  # fmt: skip
PHRASINGS = {
    "set_alarm": [
        "<wake me up|wake us|wake me|get me up|get me out of bed|ring me awake> <at|by|around> {time}< {day}|>",
        "<set|start|make|add|give me|create> <an alarm|my alarm|the alarm clock|a wake-up alarm> <for|at|to> "
        "{time}< {day}|>",
        "<I need to|I have to|we must|make sure I> <be up|wake up|get up|be awake|get out of bed> <at|by> {time}< "
        "{day}|>",
        "<alarm|wake-up call|alarm clock> <at|for> {time}< {day}|>"],
    "set_timer": [
        "<set|start|begin|give me|make|run> <a timer|a countdown|the timer|the kitchen timer> <for|of> {duration}",
        "<tell me|let me know|remind me|beep|ring|warn me> <in|after|when it has been|in exactly> {duration}",
        "<count down|timer|countdown|time> <for |>{duration}", "{duration} <timer|countdown|on the timer>"],
    "get_weather": [
        "<what is the weather|how is the weather|how warm is it|how cold is it|how windy is it|is it sunny|is it "
        "raining|what temperature is it> in {city}< {day}|>",
        "<will it|is it going to|does it> <rain|snow|be sunny|get cold|be warm|be windy|storm> <in {city}|{day}|in "
        "{city} {day}>",
        "<tell me|give me|show me|what is|read> the <weather|forecast|temperature|weather forecast> <for|in> "
        "{city}< {day}|>",
        "<do I need|should I take|will I need> <an umbrella|a coat|sunglasses|a warm coat> {day}"],
    "play_music": [
        "<play|put on|start|turn on|shuffle> <some songs by|the new album by|music by|something by|> {artist}",
        "<play|put on|start|turn on|shuffle> <some|my|a playlist of|the radio with|an hour of|> {genre}",
        "<I want to|I would like to|let us|let me> <hear|listen to> <some songs by|music by|the best of|> {artist}",
        "<I want to|I would like to|let us|let me> <hear|listen to> <some|a playlist of|> {genre}"],
    "send_message": [
        "<text|message|write to|write> {person} <that|saying|saying that|to say that> {message}",
        "<tell|let|inform> {person} <know that|that> {message}",
        "<send|write|drop> <a message|a text|a line|an email|a note> to {person}< that {message}| saying {message}|>",
        "<send|write|drop> {person} <a message|a text|a line|an email|a note>< that {message}| that says {message}|>",
        "<answer|reply to> {person} <with|that> {message}"],
    "call": [
        "<call|phone|ring up|dial|video call> {person}< back| again| at {time}| {day}|>",
        "<give|make> <{person} a ring|{person} a call|a call to {person}|a phone call to {person}>",
        "<I want to|I need to|let me> <speak to|talk to|call|phone|ring up> {person}< on the phone|>",
        "<get|put> {person} on the <phone|line|speaker>",
        "<start|make> a <video call|phone call|call> <with|to> {person}"],
    "lights_on": [
        "<turn|switch|put> on the <lights|lamp|lamps|light> in the {room}",
        "<turn|switch|put> on the {room} <lights|lamp|light>",
        "<turn|switch|put> the {room} <lights|lamp|lamps|light> on", "<lights|lamps|light> on in the {room}",
        "<it is|it is much|it looks> too dark in the {room}", "make the {room} <brighter|bright|light|lighter>",
        "<I need|give me|we need|I want> <light|more light|some light> in the {room}",
        "<light up|illuminate|brighten> the {room}"],
    "lights_off": [
        "<turn|switch|shut> off the <lights|lamp|lamps|light> in the {room}",
        "<turn|switch|shut> off the {room} <lights|lamp|light>",
        "<turn|switch|put> the {room} <lights|lamp|lamps|light> <off|out>",
        "<lights|lamps|light> <off|out> in the {room}",
        "<it is|it is much|it looks> too bright in the {room}", "make the {room} <darker|dark|dim>",
        "<I need|give me|we need|I want> <no light|less light|darkness> in the {room}", "<darken|dim> the {room}"],
    "book_table": [
        "<book|reserve|get|find> <a table|dinner|lunch|seats> for {people}< at {time}| {day}| at {time} {day}|>",
        "<book|reserve|get|find> <me|us> <a table|dinner|lunch|seats> <at|in> a {food} <restaurant|place>< {day}|>",
        "<find|look for|show me|recommend|book|reserve> a {food} <restaurant|place>< for {people}|>< {day}|>",
        "<I want to|we want to|let us> eat <{food} food|at a {food} place|in a {food} restaurant>< {day}|>",
        "<make a reservation|table|a reservation> for {people}< at {time}| {day}|>"],
    "add_to_list": [
        "<add|put|write|note> {item} <to|on> <the shopping list|my list|the grocery list|the shopping cart|our list>",
        "<we need|we are out of|we have no more|there is no more|I need|we are running out of> {item}",
        "<buy|get|remember to buy|remember to get|I need to buy|I have to buy|do not forget to buy> <some |more |"
        ">{item}",
        "<shopping list|groceries|to buy>: {item}"],
    "translate": [
        "<translate|turn|put> {word} <into|to> {language}",
        "<how do you|how do I|how can I|teach me to> say {word} in {language}",
        "<what is|tell me> <{language} for {word}|{word} in {language}|the {language} word for {word}>",
        "<what does|tell me what> {word} <mean|means> in {language}", "<say|write|spell> {word} in {language}",
        "<give me|I need|show me|what is> the {language} <translation of|word for|phrase for> {word}"],
    "navigate": [
        "<take|bring|drive|guide|lead|navigate> <me|us> to {place}",
        "<how do I|how can I|how do we> <get|drive|walk|go> to {place}",
        "<show me|tell me|what is|find> <the way|the fastest route|the route|the shortest way|directions> to {place}",
        "<how far is it|how long does it take|how many miles is it> <to|from here to> {place}",
        "<directions|navigate|drive|route|the way> to {place}",
        "<where is|find|show me where to find> {place}< on the map|>"],
}  # fmt: skip


WORDS = {slot: split(values) for slot, values in SLOTS.items()}
SEEN = [word for seen, _ in WORDS.values() for word in seen]
TEMPLATES = {intent: split_phrasings(patterns) for intent, patterns in PHRASINGS.items()}
INTENTS = list(TEMPLATES)


def sentence(rng, held_out):
    """(text, intent). Held out: the phrasing is one, and so is about every second word in it."""
    intent = rng.choice(INTENTS)
    template = rng.choice(rng.choice(TEMPLATES[intent][held_out]))
    words = {slot: rng.choice(values[held_out and rng.random() < 0.5]) for slot, values in WORDS.items()}
    if not held_out:  # words that nobody knows, so that the rest of the sentence counts
        words = {slot: invented(rng, SEEN) if rng.random() < 0.3 else word for slot, word in words.items()}
    text = rng.choice(OPENINGS) + template.format(**words) + rng.choice(CLOSINGS)
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:]
    return text + rng.choice(["", "", ".", "?", "!"]), intent
