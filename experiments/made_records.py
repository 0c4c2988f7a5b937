"""Records that never were: passages in which several identifiers stand side by side, and questions for one of them each.

A reader that has seen many questions with a date for an answer takes the date wherever a passage has numbers beside it. Here every kind of
number is asked for as often as the next, in passages of ten subjects; none of them is a security advisory, which is what transfer is measured on.
Everything is drawn from the generator that is given, so the same seed gives the same records.
"""
import string

GIVEN_NAMES = ("Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Karin", "Lamar", "Mei", "Noor", "Oskar", "Priya")
FAMILY_NAMES = ("Abel", "Brandt", "Costa", "Dufour", "Eriksen", "Fontaine", "Garcia", "Haas", "Ito", "Jansen", "Kowalski", "Lindqvist", "Moreau", "Novak")
PLACES = ("Aarhus", "Bergen", "Cork", "Delft", "Essen", "Faro", "Ghent", "Haifa", "Izmir", "Jena", "Kobe", "Lyon", "Malmo", "Nantes", "Oulu", "Porto")
NOUNS = ("lantern", "falcon", "harbour", "cedar", "granite", "meadow", "orbit", "pepper", "quartz", "ribbon", "saddle", "thistle", "velvet", "willow")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")


def digits(draw, count):
    return "".join(draw.choice(string.digits) for _ in range(count))


def letters(draw, count):
    return "".join(draw.choice(string.ascii_uppercase) for _ in range(count))


def date(draw):
    year, month, day = draw.randint(1990, 2024), draw.randint(1, 12), draw.randint(1, 28)
    return draw.choice((f"{year}-{month:02}-{day:02}", f"{day} {MONTHS[month - 1]} {year}", f"{MONTHS[month - 1]} {day}, {year}"))


def version(draw):
    return ".".join(str(draw.randint(0, 24)) for _ in range(draw.choice((2, 3, 3, 4)))) + draw.choice(("", "", "", "rc1", "b2", ".post1"))


def code(draw):
    """An identifier in one of the shapes that registers use."""
    prefix = letters(draw, draw.randint(2, 5))
    return draw.choice((f"{prefix}-{draw.randint(1990, 2024)}-{digits(draw, draw.randint(1, 5))}", f"{prefix}-{digits(draw, 5)}",
                        f"{prefix}{digits(draw, 6)}", f"#{digits(draw, 6)}", f"{digits(draw, 2)}/{digits(draw, 4)}-{letters(draw, 1)}"))


def person(draw):
    return f"{draw.choice(GIVEN_NAMES)} {draw.choice(FAMILY_NAMES)}"


def thing(draw):
    return draw.choice(NOUNS) + draw.choice(("", "-" + draw.choice(NOUNS), "kit", "lib", digits(draw, 1)))


def place(draw):
    return draw.choice(PLACES)


# A subject: fields and what draws them; sentences, each with the fields it tells; questions by the field that answers them.
SUBJECTS = (
    {"fields": {"ticket": code, "build": code, "component": thing, "opened": date, "found": version, "repaired": version},
     "sentences": ("Ticket {ticket} ({build}) is about the component {component} and was opened on {opened}.",
                   "It first showed in release {found} and is gone since release {repaired}."),
     "questions": {"build": "Which build number stands beside ticket {ticket}?", "component": "Which component is meant by {build}?",
                   "opened": "When was ticket {ticket} for {component} opened?", "found": "In which release of {component} did {build} first show?",
                   "repaired": "Which release of {component} ended {build}?"}},
    {"fields": {"accession": code, "catalogue": code, "piece": thing, "acquired": date, "donor": person},
     "sentences": ("The {piece}, accession {accession}, was given by {donor} on {acquired}.", "It is listed in the catalogue as {catalogue}."),
     "questions": {"accession": "What is the accession number of catalogue entry {catalogue}?", "catalogue": "Under which number is accession {accession} listed in the catalogue?",
                   "acquired": "On what date did the museum receive {accession}?", "donor": "Who gave {accession} to the museum?"}},
    {"fields": {"order": code, "tracking": code, "article": thing, "shipped": date, "town": place},
     "sentences": ("Order {order} of one {article} left for {town} on {shipped} under tracking code {tracking}.",),
     "questions": {"order": "Which order travels under {tracking}?", "tracking": "What is the tracking code of order {order}?",
                   "article": "What was ordered with {order}?", "shipped": "On which day was order {order} shipped?", "town": "Where does {tracking} go?"}},
    {"fields": {"flight": code, "aircraft": code, "gate": lambda draw: letters(draw, 1) + digits(draw, 2), "day": date, "town": place},
     "sentences": ("Flight {flight} to {town} on {day} leaves from gate {gate}.", "The aircraft is registered as {aircraft}."),
     "questions": {"flight": "Which flight does the aircraft {aircraft} serve?", "aircraft": "What is the registration of the aircraft on {flight}?",
                   "gate": "From which gate does {flight} leave?", "day": "On what date does {flight} leave?"}},
    {"fields": {"isbn": lambda draw: "978-" + digits(draw, 10), "shelf": code, "title": thing, "author": person, "printed": date, "edition": version},
     "sentences": ("The handbook of {title} by {author} (ISBN {isbn}) was printed on {printed} and describes version {edition}.", "Its shelf mark is {shelf}."),
     "questions": {"isbn": "What is the ISBN of the book with the shelf mark {shelf}?", "shelf": "What is the shelf mark of {isbn}?",
                   "author": "Who wrote the book with the ISBN {isbn}?", "printed": "When was {shelf} printed?", "edition": "Which version does {isbn} describe?"}},
    {"fields": {"docket": code, "citation": code, "judge": person, "decided": date, "town": place},
     "sentences": ("Case {docket}, cited as {citation}, was decided by Judge {judge} in {town} on {decided}.",),
     "questions": {"docket": "What is the docket number of the case cited as {citation}?", "citation": "How is case {docket} cited?",
                   "judge": "Which judge decided {docket}?", "decided": "When was {docket} decided?", "town": "In which town was {citation} decided?"}},
    {"fields": {"standard": code, "older": code, "newer": code, "subject": thing, "adopted": date},
     "sentences": ("Standard {standard} for the {subject} was adopted on {adopted}.", "It replaces {older} and has itself been replaced by {newer}."),
     "questions": {"older": "Which standard did {standard} replace?", "newer": "By which standard was {standard} replaced?",
                   "adopted": "On what date was {standard} adopted?", "subject": "What is {standard} a standard for?"}},
    {"fields": {"recall": code, "part": code, "model": thing, "announced": date, "firmware": version},
     "sentences": ("Recall {recall} of {announced} concerns the {model}, part number {part}.", "Units with firmware {firmware} or later are not concerned."),
     "questions": {"recall": "Which recall concerns part number {part}?", "part": "Which part number does recall {recall} concern?", "model": "Which product is meant by {recall}?",
                   "announced": "When was {recall} announced?", "firmware": "From which firmware on is the {model} not concerned by {recall}?"}},
    {"fields": {"award": code, "project": code, "leader": person, "begun": date, "town": place},
     "sentences": ("Award {award} pays for project {project} in {town}, led by {leader}.", "Work began on {begun}."),
     "questions": {"award": "Which award pays for {project}?", "project": "Which project does award {award} pay for?", "leader": "Who leads {project}?",
                   "begun": "On which day did work on {project} begin?", "town": "Where is {project} carried out?"}},
    {"fields": {"object": code, "survey": code, "finder": person, "seen": date, "name": thing},
     "sentences": ("The object {object}, known as {name}, was first seen by {finder} on {seen}.", "The survey lists it under {survey}."),
     "questions": {"object": "Which designation has {survey} of the survey?", "survey": "Under which number does the survey list {object}?",
                   "finder": "Who first saw {object}?", "seen": "On what date was {object} first seen?", "name": "By which name is {object} known?"}},
)


def record(draw, number, remark):
    """One record followed by a remark about something else, and a question for each of three of its fields: (document, questions)."""
    subject = draw.choice(SUBJECTS)
    values = {field: make(draw) for field, make in subject["fields"].items()}
    lead = " ".join(sentence.format(**values) for sentence in subject["sentences"])
    identifier = f"record-{number:04}"
    asked = [{"id": f"{identifier}/{field}", "doc_id": identifier, "question": subject["questions"][field].format(**values), "answers": [values[field]]}
             for field in draw.sample(sorted(subject["questions"]), 3)]
    return {"id": identifier, "title": next(iter(values.values())), "text": f"{lead} {remark}"}, asked
