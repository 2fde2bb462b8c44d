"""Words that the example is made of; no meaning beyond variety. Their order is part of what a seed draws."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words("""
    Ada Amir Anouk Arvid Beatriz Bela Carlo Chiara Dario Dunja Edda Elio Emre Farah Fenna Gustav Hana Hugo Ida Ilias
    Ines Jasper Jolanta Kaito Katja Lale Leif Lucia Marek Mina Nadim Nele Odile Omar Paula Pavel Quentin Rania Renzo
    Saskia Selim Sora Tadeo Thea Ulla Viktor Wanda Xenia Yara Zeno
""")
LAST_NAME_STARTS = _words("""
    Abra Acker Aden Almei Andra Bakke Bella Bjorn Brand Castel Chan Dahl Demi Dubo Eriks Faber Farka Ferra Galli
    Grand Haas Horva Ibse Ivan Janso Jovi Kelle Kova Lind Loren Maas March Mensa More Naka Okafo Olse Perei Petro
    Quint Rahim Rossi Schu Tanak Toth Urba Vida Wint Yilma Zelle
""")
LAST_NAME_ENDS = _words("""
    bach berg borg brook by cliffe croft dal den dottir er ford gaard grove heim hoff holm ic idze ini ino kamp land
    low ly man mark nen ness off ova quist rad rup ski son stad stein strom sund thal ton vik ville ward wick worth
    yan
""")
WORD_STARTS = _words("""
    Al Bar Bel Bran Cal Car Cor Dal Dor Dun El Fal Fen Gar Gel Gor Hal Har Hol Il Jar Kel Kor Lan Lor Mal Mar Mel
    Mor Nor Ol Or Pel Quil Ral Ros Sal Sel Tal Tor Ul Val Var Vel Wal Wor Yar Zel
""")
WORD_ENDS = _words("""
    aby ander anth ara atch avo bach bark bexo bitz dale dino dofa ebo elk enza ermo etti fax fell fino gard gosh
    gow hurst idge ika ilo ivar kamp lark lius mere mund nix oda olo onta quay sted thorn
""")
COLORS = _words("""
    amber beige black blue bronze coral crimson gray green ivory olive orange pink purple silver white
""")
ANIMALS = _words("""
    budgie canary cat chameleon cockatoo corgi ferret gecko goldfish hamster hedgehog mouse parrot poodle pug rabbit
    rat spaniel tortoise turtle
""")
GOODS = _words("""
    armchair backpack blender bookcase camera carpet clock coat desk drill guitar hammock heater kayak kettle lamp
    ladder mattress mirror oven parasol projector raincoat saddle scarf sofa stroller suitcase tent toaster trumpet
    vase violin wardrobe watch wheelbarrow
""")
TRADES = _words("""
    accountant architect baker barber beekeeper botanist butcher carpenter chemist conductor dentist diver editor
    florist gardener geologist glazier jeweler judge librarian locksmith mason midwife nurse optician painter pilot
    plumber potter roofer sailor surveyor tailor tanner teacher translator
""")
MONTHS = _words("""
    January February March April May June July August September October November December
""")

CAPITALS = {
    "Algeria": "Algiers", "Argentina": "Buenos Aires", "Armenia": "Yerevan", "Australia": "Canberra",
    "Austria": "Vienna", "Bahrain": "Manama", "Bangladesh": "Dhaka", "Belgium": "Brussels", "Bhutan": "Thimphu",
    "Brazil": "Brasilia", "Bulgaria": "Sofia", "Canada": "Ottawa", "Chile": "Santiago", "China": "Beijing",
    "Colombia": "Bogota", "Croatia": "Zagreb", "Cuba": "Havana", "Cyprus": "Nicosia", "Denmark": "Copenhagen",
    "Ecuador": "Quito", "Egypt": "Cairo", "Estonia": "Tallinn", "Ethiopia": "Addis Ababa", "Fiji": "Suva",
    "Finland": "Helsinki", "France": "Paris", "Georgia": "Tbilisi", "Germany": "Berlin", "Ghana": "Accra",
    "Greece": "Athens", "Hungary": "Budapest", "Iceland": "Reykjavik", "India": "New Delhi", "Indonesia": "Jakarta",
    "Iran": "Tehran", "Iraq": "Baghdad", "Ireland": "Dublin", "Italy": "Rome", "Jamaica": "Kingston",
    "Japan": "Tokyo", "Jordan": "Amman", "Kenya": "Nairobi", "Latvia": "Riga", "Lebanon": "Beirut",
    "Libya": "Tripoli", "Mali": "Bamako", "Malta": "Valletta", "Morocco": "Rabat", "Nepal": "Kathmandu",
    "Norway": "Oslo", "Oman": "Muscat", "Peru": "Lima", "Poland": "Warsaw", "Portugal": "Lisbon", "Qatar": "Doha",
    "Romania": "Bucharest", "Senegal": "Dakar", "Serbia": "Belgrade", "Slovenia": "Ljubljana", "Spain": "Madrid",
    "Sweden": "Stockholm", "Syria": "Damascus", "Thailand": "Bangkok", "Tunisia": "Tunis", "Turkey": "Ankara",
    "Uganda": "Kampala", "Ukraine": "Kyiv", "Uruguay": "Montevideo", "Vietnam": "Hanoi", "Zambia": "Lusaka",
}  # fmt: skip
ELEMENTS = {
    "aluminum": "Al", "argon": "Ar", "arsenic": "As", "barium": "Ba", "bismuth": "Bi", "boron": "B", "bromine": "Br",
    "calcium": "Ca", "carbon": "C", "chlorine": "Cl", "cobalt": "Co", "copper": "Cu", "fluorine": "F", "gold": "Au",
    "helium": "He", "hydrogen": "H", "iodine": "I", "iron": "Fe", "lead": "Pb", "lithium": "Li", "magnesium": "Mg",
    "mercury": "Hg", "neon": "Ne", "nickel": "Ni", "nitrogen": "N", "oxygen": "O", "silver": "Ag", "sodium": "Na",
    "tin": "Sn", "zinc": "Zn",
}  # fmt: skip
