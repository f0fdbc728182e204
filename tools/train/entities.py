"""Sentences of news and mail with persons, places and organisations marked. A quarter of the names and of the sentence
patterns is held out."""

from phrases import invented, split, split_phrasings

FIRST = """Anna Peter Maria John Sophie Omar Julia Thomas Elena David Laura Ahmed Ingrid Paul Chiara Lucas Fatima
Robert Hannah Miguel Yuki Daniel Olga Henrik Priya Samuel Nora Carlos Emma Ivan Leila Martin Grace Pierre Agnes
Victor Mei Stefan Rosa Arthur Zoe Felix Amina George Helga Tom Nadia Oscar Ruth Kofi Alice Bruno Clara Dmitri Eva
Frank Greta Hugo Irene Jack Karin Liam Mona Nils Petra Ravi Sara Tariq Ursula Vera Walter Xenia Yusuf Angela Barack
Tim Margaret Albert Marie Isaac Ada Alan Linus Virginia Charles Emily William Jane Ernest Pablo Diego Johann""".split()
LAST = """Schmidt Miller Rossi Garcia Novak Jensen Tanaka Ivanov Smith Dubois Khan Okafor Lindqvist Moreau Silva
Kowalski Haas Brown Santos Petrov Weber Nguyen Larsen Costa Fischer Evans Romano Nielsen Suzuki Clark Meyer Walker
Ferrari Hansen Wright Bauer Popescu Adams Keller Singh Moretti Baker Vogel Horvat Turner Berg Leclerc Mbeki Cooper
Wagner Lopez Byrne Nakamura Fontaine Hughes Kaya Sorensen Bianchi Murphy Virtanen Merkel Obama Cook Thatcher Einstein
Curie Newton Lovelace Turing Torvalds Woolf Darwin Bronte Shakespeare Austen Hemingway Picasso Rivera Bach Mandela
Gandhi Tolstoy""".split()
PLACES = """Berlin|Paris|London|Oslo|Madrid|New York|Tokyo|Vienna|Lisbon|Chicago|Rome|Prague|Dublin|Athens|
San Francisco|Hamburg|Kyoto|Geneva|Germany|France|Italy|Spain|Norway|Japan|Brazil|Kenya|Canada|Egypt|India|Peru|
Lake Geneva|Warsaw|Budapest|Cairo|Nairobi|Toronto|Boston|Seattle|Los Angeles|Buenos Aires|Cape Town|Hong Kong|
Singapore|Sydney|Munich|Zurich|Milan|Naples|Porto|Seville|Lyon|Marseille|Brussels|Amsterdam|Rotterdam|Copenhagen|
Stockholm|Helsinki|Riga|Tallinn|Vilnius|Kiev|Istanbul|Ankara|Delhi|Mumbai|Beijing|Shanghai|Seoul|Manila|Jakarta|Lima|
Bogota|Santiago|South Africa|New Zealand|United States|Saudi Arabia|Sri Lanka|Costa Rica|Mexico|Chile|Argentina|
Sweden|Finland|Poland|Greece|Turkey|Morocco|Ghana|Texas|California|Bavaria|Sicily|Scotland|Wales|Switzerland|Austria|
Mount Kenya|North Sea|Black Forest|Rio Grande""".replace("\n", "").split("|")
STEMS = """Northern|Alpine|Global|Atlantic|United|First|Blue River|Silver|Helios|Vertex|Orion|Delta|Nordic|Pioneer|
Summit|Crystal|Iron Gate|Red Star|Green Valley|Quantum|Apex|Falcon|Harbour|Liberty|Phoenix|Polar|Titan|Union|Vega|
Zenith|Sunrise|Evergreen|Bright|Cobalt|Eagle|Fortune|Horizon|Infinity|Jupiter|Lighthouse""".replace("\n", "").split("|")
KINDS = """Bank|Airlines|Motors|Energy|Insurance|Systems|Foods|Pharma|Steel|Media|Railways|Software|Telecom|Group|
Holdings|Ltd|Inc|Corporation|Institute|University|Hospital|Press|Records|Logistics|Electronics|Partners|Foundation|
Museum""".replace("\n", "").split("|")
BRANDS = """Apple|Microsoft|Google|Siemens|Toyota|Nestle|Airbus|Boeing|Samsung|Volvo|Philips|Unilever|Reuters|
Interpol|Greenpeace|Amazon|Intel|Nokia|Sony|Honda|Renault|Bosch|Bayer|Shell|Total|Heineken|Ikea|Adidas|Lufthansa|
Netflix|NATO|UNESCO|BBC|IBM|NASA|CERN|BMW|OPEC|the European Commission|the Red Cross|the World Bank|
the Supreme Court""".replace("\n", "").split("|")
JOBS = """minister engineer chairwoman lawyer professor painter goalkeeper spokesman singer journalist judge mayor
doctor director teacher pilot analyst novelist chemist coach""".split()
THINGS = """a new factory|the contract|its annual report|a letter|the invoice|two offices|a museum|the results|
a large order|the bridge|a research centre|the festival|the merger|a vaccine|the election|a conference|the strike|
a lawsuit|the budget|an exhibition|the project|new rules|the prize|a train line|cheaper tickets|the plan|a book|
the match""".replace("\n", "").split("|")
WHEN = """yesterday|on Monday|last week|in March|this year|on Friday evening|in 1998|in the spring|today|two days ago|
at noon|next month|in January|on Tuesday|after the war|since 2005|in the morning""".replace("\n", "").split("|")
VERBS = """announced|praised|rejected|signed|discussed|criticised|approved|presented|delayed|bought|sold|cancelled|
described|defended|opened|welcomed|explained|finished|sent|mentioned""".replace("\n", "").split("|")
# Alternatives as in intents.py; {p} person, {l} place, {o} organisation.
PATTERNS = [
    "{p} <lives|works|was born|grew up|died|studied|taught|stayed|arrived> in {l}< {w}|>.",
    "{p} <works|worked|left her job|started> <at|for> {o}< in {l}|>< {w}|>.",
    "{o} {v} {t}< in {l}|>< {w}|>.", "{w}, {o} {v} {t}< in {l}|>.", "{p} {v} {t}< in {l}|>< {w}|>.",
    "{p} and {p} <met|talked|argued|had dinner|married|played> in {l}< {w}|>.",
    "{p}, <the|a|a former> {j} <of|at|from> {o}, {v} {t}< {w}|>.",
    "{p}, <the|a|a former> {j} from {l}, {v} {t}< {w}|>.",
    "The {j} {p} <moved|travelled|flew|drove|returned> from {l} to {l}< {w}|>.",
    "{o} and {o} {v} {t}< {w}|>.", "{o} <bought|sued|took over|beat|hired|paid> {o}< {w}|>.",
    "{o}, <based|founded|registered> in {l}, {v} {t}< {w}|>.",
    "The <headquarters|offices|shares|lawyers|workers> of {o} are in {l}.",
    "{p} <told|wrote to|answered|visited|called|thanked|met> {p}< in {l}|>< {w}|>.",
    "{p} <joined|founded|leads|led|left|sold|represents> {o}< {w}|>.",
    "{o} <fired|hired|thanked|elected|promoted> {p}< {w}|>.",
    "<The weather in|A fire in|Prices in|The mayor of|The capital of|A trip to|Tourists in|A storm over> {l} "
    "<surprised everyone|was in the news|made people nervous|was worse than expected>< {w}|>.",
    "<The train|The flight|Our bus|The ferry|A convoy> from {l} <to|arrived late in|stopped before reaching|never "
    "reached> {l}< {w}|>.",
    "<Dear|Hello|Hi> {p}, <thank you for|please send me|I have not seen|we received> {t}< from {o}|>< {w}|>.",
    "<I|We|They|She|He> <met|saw|heard|remembered|interviewed> {p} <at|in front of|outside> {o}< in {l}|>< {w}|>.",
    "<I|We|They|She|He> <went|moved|drove|sailed> <to|through|towards> {l}< with {p}|>< {w}|>.",
    "<I|We|They|She|He> <bought|received|returned> {t} <from|at> {o}< in {l}|>< {w}|>.",
    "<Nobody|Everyone> <in {l}|at {o}> <knows|believed|expected|wanted> {t}< {w}|>.",
    "<It was|There is> {t} <in {l}|at {o}|by {p}|for {p}|from {o}> that <the {j}|nobody|everyone> {v}< {w}|>.",
    "{t} <by|from|for|about> {p} <was|is> <in {l}|at {o}|late|very long>< {w}|>.",
    "The {j} {v} {t}< {w}|>.", "Nothing happened {w}.", "The {j} and the {j} {v} {t} {w}.",
    "{p}: '<I love|I hate|I will never forget|we need|do not believe> {l}'.",
    "{o} <said|reported|denied> {w} that {p} {v} {t}.",
    "According to <{o}|{p}>, <{o}|{p}> {v} {t}< in {l}|>.",
    "<After|Before> {t}, <{p}|{o}> <went|moved|returned> to {l}.",
]  # fmt: skip


SPLIT = {"first": split(FIRST), "last": split(LAST), "l": split(PLACES), "stem": split(STEMS)} | {
    kind: (words, words) for kind, words in dict(brand=BRANDS, kind=KINDS, j=JOBS, t=THINGS, w=WHEN, v=VERBS).items()
}  # [seen, held out]
PHRASINGS = split_phrasings(PATTERNS)
NAMES = [name for key in ("first", "last", "l", "stem") for name in SPLIT[key][0]]
ENTITIES = {"p": "PER", "l": "LOC", "o": "ORG"}


def fill(kind, rng, held_out):
    def word(name):
        if name in ("first", "last", "l", "stem") and not held_out and rng.random() < 0.3:
            count = 1 if name in ("first", "last") else rng.randint(1, 2)
            return " ".join(invented(rng, NAMES).capitalize() for _ in range(count))
        return rng.choice(SPLIT[name][held_out])

    if kind == "p":
        first, last = word("first"), word("last")
        both, middle = f"{first} {last}", rng.choice("ABCDEFGHJKLMPRSTVW")
        return rng.choice([first, last, both, both, f"{first[0]}. {last}", f"{first} {middle}. {last}"])
    if kind == "o":
        form = rng.random()
        if form < 0.35:
            return word("brand")
        name = word("stem") if form < 0.7 else word("last") if form < 0.85 else word("l")
        return f"{name} {word('kind')}" if rng.random() < 0.9 else f"{word('kind')} of {word('l')}"
    return word(kind)


def sentence(rng, held_out):
    """(text, [(start, end, PER | LOC | ORG)]), in characters."""
    text, spans = "", []
    pattern = rng.choice(rng.choice(PHRASINGS[held_out]))
    for i, part in enumerate(pattern.replace("}", "{").split("{")):
        if i % 2:
            words = fill(part, rng, held_out)
            if part in ENTITIES:
                name = words.removeprefix("the ")
                spans.append((len(text) + len(words) - len(name), len(text) + len(words), ENTITIES[part]))
            part = words
        text += part
    return text[0].upper() + text[1:], spans


def labels_of(offsets, spans):
    """B-, I- and O for the pieces at these character offsets; None for special tokens."""
    labels = []
    for start, end in offsets:
        inside = [(first, kind) for first, last, kind in spans if first <= start and end <= last]
        if not inside:
            labels.append(None if end == 0 else "O")
        else:
            labels.append(f"{'B' if inside[0][0] == start else 'I'}-{inside[0][1]}")
    return labels
