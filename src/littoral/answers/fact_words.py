"""Words of which two questions may not hold different ones: numerals, negations, opposites, one of a row of its kind.

Mostly English. They only ever refuse: a word that is missing here costs nothing but that the bound stands alone.
"""

__all__ = ["AUXILIARIES", "CONNECTORS", "NEGATIONS", "NUMERALS", "OPPOSITES", "PREFIXES", "ROWS", "UNITS"]

NUMERAL_WORDS = (
    "zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
"""`one` is mostly a pronoun."""
TENS = "thirty forty fifty sixty seventy eighty ninety"
ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth"
"""`first` is an opposite; `second` is a time, too."""
ELSEWHERE = "zwei drei vier fünf sechs sieben acht neun zehn|dos tres cuatro cinco seis siete ocho nueve diez"
NUMERALS = (
    dict(zip(NUMERAL_WORDS.split(), map(str, [0, *range(2, 21)]), strict=True))
    | dict(zip(TENS.split(), map(str, range(30, 100, 10)), strict=True))
    | dict(zip(ORDINALS.split(), map(str, range(3, 11)), strict=True))
    | {word: str(n) for row in ELSEWHERE.split("|") for n, word in enumerate(row.split(), 2)}
    | {"half": "0.5", "dozen": "12", "hundred": "100", "thousand": "1000", "million": "1000000", "twice": "2"}
    | {"double": "2", "triple": "3", "billion": "1000000000"}
)

NEGATION_WORDS = (
    "not no never none nobody nothing without cannot neither nor dont doesnt didnt isnt arent wasnt werent cant "
    "couldnt shouldnt wouldnt wont hasnt havent hadnt nicht nichts kein keine keinen keinem keiner keines nie niemals "
    "niemand ohne weder ne pas jamais sans rien aucun aucune sin nunca nada nadie ningún ninguno ninguna tampoco non "
    "senza mai nessuno nessuna niente não sem ninguém nenhum nenhuma niet geen nooit niets zonder inte aldrig ikke "
    "aldri ingen inget nem soha nigdy nikt değil не нет ни никогда нельзя без δεν μην όχι"
)
NEGATIONS = frozenset(NEGATION_WORDS.split())

CONNECTORS = frozenset(["and", "or", "vs", "versus", "und", "oder", "et", "ou", "y", "o"])
"""What stands around them may change places."""

AUXILIARY_WORDS = (
    "an the is are was were am be been do does did can could will would should may might must have has had so it there "
    "please exactly really also just"
)
AUXILIARIES = frozenset(AUXILIARY_WORDS.split())
"""Where these stand changes nothing."""

PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "anti", "de")
"""A word and the same behind one of these are opposites, or other words altogether."""

OPPOSITES = tuple(
    (frozenset(one.split()), frozenset(other.split()))
    for one, other in (
        (
            "increase increases increased increasing raise raised raising gain",
            "decrease decreases decreased decreasing lower lowered lowering reduce reduced reducing",
        ),
        ("before", "after"),
        ("maximum max most highest largest biggest", "minimum min least lowest smallest"),
        ("best good better", "worst bad worse"),
        ("buy bought buying purchase", "sell sold selling"),
        (
            "enable enables enabled enabling activate activated unlock unlocked",
            "disable disables disabled disabling deactivate deactivated lock locked",
        ),
        ("start started starting open opened opening", "stop stopped stopping close closed closing"),
        (
            "install installed installing add added adding",
            "uninstall uninstalled remove removed removing delete deleted deleting",
        ),
        ("allow allowed legal permit", "forbid forbidden illegal ban banned prohibit"),
        ("advantages advantage pros benefits benefit", "disadvantages disadvantage cons drawbacks drawback"),
        ("male man men boy boys husband father", "female woman women girl girls wife mother"),
        ("import imported importing input", "export exported exporting output"),
        ("encrypt encrypted encode encoded", "decrypt decrypted decode decoded"),
        ("hot warm summer", "cold cool winter"),
        ("left", "right"),
        ("true correct", "false wrong incorrect"),
        ("safe", "unsafe dangerous"),
        ("upload uploaded uploading send sent", "download downloaded downloading receive received"),
        ("hire", "fire"),
        ("north northern", "south southern"),
        ("east eastern", "west western"),
        ("first", "last"),
        ("love", "hate"),
        ("inside above", "outside below"),
        ("on", "off"),
        ("up", "down"),
        ("old", "new"),
        ("more", "less fewer"),
        ("win won winning", "lose lost losing"),
        ("push pushed pushing", "pull pulled pulling"),
        ("accept accepted approve approved accepting", "reject rejected decline declined rejecting"),
        ("create created creating", "delete deleted destroy destroyed deleting"),
        ("high higher", "low lower"),
        ("early earlier", "late later"),
        ("positive", "negative"),
        ("public", "private"),
        ("internal", "external"),
        ("lend lent lending", "borrow borrowed borrowing"),
        ("debit", "credit"),
        ("arrive arrival arrivals", "depart departure departures"),
        ("read reading", "write writing"),
        ("he him his", "she her hers"),
        ("always immer", "sometimes niemals"),
    )
)


def _rows(text: str) -> tuple[dict[str, int], ...]:
    """A line each, of places between bars; to each word its place."""
    return tuple(
        {word: place for place, words in enumerate(line.split("|")) for word in words.split()}
        for line in text.strip().splitlines()
    )


ROWS = _rows(
    """
monday mondays montag lundi|tuesday tuesdays dienstag mardi|wednesday wednesdays mittwoch|thursday thursdays donnerstag\
|friday fridays freitag vendredi|saturday saturdays samstag samedi|sunday sundays sonntag dimanche
january januar|february februar|march märz|april|may mai|june juni|july juli|august|september|october oktober|november\
|december dezember
am|pm
today heute|tomorrow morgen|yesterday gestern
morning|noon|afternoon|evening|night midnight
ii|iii|iv|vi|vii|viii|ix|xi|xii
daily|weekly|monthly|quarterly|yearly annually annual
"""
)
"""Of one row two questions name the same ones, or one of them names none."""

UNITS = _rows(
    """
µg μg mcg microgram micrograms|mg milligram milligrams|g gram grams|kg kilo kilos kilogram kilograms\
|t ton tons tonne tonnes|oz ounce ounces|lb lbs pound pounds
nm|mm millimeter millimeters millimetre millimetres|cm centimeter centimeters centimetre centimetres\
|m meter meters metre metres|km kms kilometer kilometers kilometre kilometres|in inch inches|ft foot feet\
|yd yard yards|mi mile miles
ml milliliter milliliters millilitre millilitres|l liter liters litre litres|gal gallon gallons|cup cups\
|tsp teaspoon teaspoons|tbsp tablespoon tablespoons
ms millisecond milliseconds|s sec secs second seconds|min mins minute minutes|h hr hrs hour hours|d day days\
|w week weeks|month months|y yr yrs year years
b byte bytes|kb|mb|gb|tb|kib|mib|gib
°c celsius|°f fahrenheit
usd dollar dollars|eur euro euros|gbp|yen|rupee rupees rs inr|cent cents
w watt watts|kw|mw|v volt volts|kv|a amp amps|ma|hz|khz|mhz|ghz
"""
)
"""Behind a number."""
