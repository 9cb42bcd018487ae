"""Secrets in no known format: a value that looks random, assigned to a telling name.

Input: a text. Output: the places of such values. One rule for all languages: a name with a word
such as `password`, `secret`, `token` or `key` near its end; behind it only signs, blanks and some
words that stand between a name and its value in some language (`string`, `default`, `Bearer`); then
a value of eight characters or more with enough evidence that it is random (randomness.py). How much
is enough depends on how telling the name is and on whether the value is quoted.

    DB_PASSWORD=x  "apiKey": "x"  <add key="Secret" value="x"/>  --token x  const KEY: &str = "x"
    Authorization: Bearer x  ${SECRET:-x}  setPassword("x")  IDENTIFIED BY 'x'

Not here: keys in known formats (secret_formats.py), what commands are given (commanded_secrets.py),
passwords in URLs (secrets.py), and passwords that are words.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator

from codling.core.packaged import packaged_table
from codling.corpus.redaction.randomness import n_changes, random_bits
from codling.corpus.redaction.secret_formats import EXAMPLES

_WORDS = {
    name: tuple(words.split())
    for name, words in packaged_table("codling.corpus.redaction", "secret_names.toml").items()
}
_SECRET_KEYS, _NO_SECRET, _NO_KEY = (
    frozenset(_WORDS[k]) for k in ("secret_keys", "no_secret", "no_key")
)
_STEMS = "pass pwd pw ndpw otpw psk secr toke key auth cred iden"


def _stem(word: str) -> str:
    """The four characters of a word that are rarest in others: few texts are then read closely.

    >>> _stem("contraseña"), _stem("wachtwoord")
    ('seña', 'twoo')
    """
    windows = [word[i : i + 4] for i in range(max(1, len(word) - 3))]
    return max(windows, key=lambda w: (sum(not c.isascii() for c in w), random_bits(w)))


_FOREIGN_STEMS = [_stem(w) for kind in ("secrets", "keys") for w in _WORDS[f"foreign_{kind}"]]
STEMS = tuple(dict.fromkeys((*_STEMS.split(), *_FOREIGN_STEMS)))
"""One of them is in every telling name, in small letters."""
MIN_VALUE, MAX_VALUE = 8, 200
MIN_CHANGES = 2
"""A secret has so many places where a letter meets a digit, or a capital a small letter."""
REACH = 100
"""Characters from the beginning of a stem to that of its value at most."""

MIN_PASSWORD, LOGIN = 6, 2.0
"""Characters and bits that a password needs in a decoded header `Authorization: Basic`."""
STRONG, MEDIUM, WEAK = 6.0, 10.0, 24.0
"""Bits of evidence that a value needs: a password's, a key's, that of a bare `key`."""
UNQUOTED, UNASSIGNED = 1.0, 2.0
"""Bits more for a value without quotes, and without a sign of assignment."""

_ASCII_SMALL = {c: c + 32 for c in range(65, 91)}
WIDE_SIGNS = "\uff1a\uff1d\u300c\u300e\u3010\uff08\u201c\u2018\uff02\uff07\u3000\u3001"
"""Signs of East Asian texts, which may stand there as well."""
SIGNS = " \t\"'`])}>(\\[{</=:,|?&@$;~*+!-"
FILLERS = tuple(
    word
    for line in (
        "string str nsstring securestring value default const static char byte is as by to from",
        "get set bearer basic token apikey digest new of text name key lazy env getenv encrypted",
        "n b r u f app user login",
    )
    for word in line.split()
)
"""Signs and words that may stand between a name and its value."""
MAX_REST = 40
"""Characters of a name from its stem on."""
_BETWEEN = (
    rf"(?:[{re.escape(SIGNS + WIDE_SIGNS)}]|[0-9](?= )|(?:{'|'.join(FILLERS)})\b|"
    r"(?:(?<=[>|])|(?<=[>|][-+]))\r?\n|(?<=[=(:\\])\r?\n(?=[ \t]*[\"'])|"
    r"\r?\n(?=[ \t]*(?:-[ \t]*)?[\"'<]?(?:value|default|string)\b))"
)
_ASSIGNED = re.compile(
    rf"(?P<rest>(?:[\w.-]|[^\x00-\x7f{WIDE_SIGNS}]){{0,{MAX_REST}}}+)(?P<between>(?>{_BETWEEN}{{1,24}}))"
    rf"(?P<value>[^\s\"'`<>\u300d\u300f\u3011\uff09\u201d\u2019]{{{MIN_VALUE},}})",
    re.ASCII | re.IGNORECASE,
)
_NAME_BEFORE = re.compile(r"[\w.-]{0,40}\Z")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
INNER = "!#$%&*+-./?@\\^_~"
"""Signs that a value in quotes may begin with."""
CUTS = ";,(){}[]|&\\"
"""Where a value without quotes ends."""
_CUT = re.compile(rf"[{re.escape(CUTS)}]|:(?=\s|$)")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z_-]*=(?!=|$)")
"""The next name and value begin here: `response_type=token&client_id=x`."""
_TAIL = ".,:!?*"

_STRONG_WORD = re.compile(
    r".*(?:passw(?:or)?ds?|passphrase|passwort|passord|passcode|pwd|secrets?|credentials?|apikeys?|psk|"
    r"(?:access|secret|private|auth|api|master|account|storage|sas|signing|encryption|shared)"
    r"(?:keys?|tokens?)|(?:master|require)auth|motdepasse)|"
    r"pw|bindpw|rootpw|pass|passe|cred|creds|authorization|sshpass|(?:pg|db|smtp|mail|root|admin|user|"
    r"my|default|require|store|key|ldap|ftp|ssh|sudo|become|wifi|bind)pass"
)

_OTHER_LETTERS = str.maketrans("łŁøØıİđĐðÐ", "lLoOiIdDdD")


def _is_latin(word: str) -> bool:
    return word[0] < "\u0250"


def _strip_accents(text: str) -> str:
    """Latin letters without their marks.

    >>> _strip_accents("lösenord"), _strip_accents("hasło")
    ('losenord', 'haslo')
    """
    plain = unicodedata.normalize("NFKD", text.translate(_OTHER_LETTERS))
    return "".join(c for c in plain if not unicodedata.combining(c))


_FOREIGN_SECRETS, _FOREIGN_KEYS = (
    tuple(sorted({_strip_accents(word).strip("_") for word in _WORDS[kind] if _is_latin(word)}))
    for kind in ("foreign_secrets", "foreign_keys")
)
"""The foreign words in Latin letters."""
_OTHER_SCRIPTS = tuple(
    (word, bits)
    for kind, bits in (("foreign_secrets", STRONG), ("foreign_keys", MEDIUM))
    for word in _WORDS[kind]
    if not _is_latin(word)
)
_MIN_SUFFIX = 5
"""A foreign word of so many letters counts at the end of a longer one: `dbwachtwoord`."""
_AFTER_SCRIPT = 8
"""Characters of a name that may follow a word in another script."""

_EXAMPLE = re.compile(
    r"(?i)example|xxxx|placeholder|dummy|changeme|change[-_]me|replace|your[-_]|my[-_]?secret|fake|"
    r"sample|01234567|12345678|abcdefgh|abc123|deadbeef|cafebabe|(.)\1{5}|\.\.\.|redacted|insert"
)
_REFERENCE = re.compile(
    r"\$\{|\$\(|\{\{|%\(|<%|#\{|://|^[$%@]\w+[%@]?$|^(?:\.{0,2}|~|[A-Za-z]:)[/\\][\w.-]+[/\\.]|"
    r"^(?:process|os|env|self|this|config|settings|secrets|vars?|data|module|window|document)\b\.|"
    r"\.(?:html?|jsx?|tsx?|py|json|ya?ml|xml|txt|pem|key|crt|cer|pub|png|svg|jpe?g|css|md|php|rb|"
    r"java|properties|conf|cfg|ini|jks|p12|pfx|com|org|net|io|local)$|^\$(?:2[abxy]|[1-9][a-z]*)\$|"
    r"^(?:md5|sha1|pbkdf2_sha\d+|bcrypt\w*|argon2\w*|scrypt)\$|"
    r"^(?:sha\d+|md5)[-:]|^(?:data|urn|arn|vault|ref):|^n?(?:ssh-|AAAAB3Nza|MII[BCFGH]|ey[JI])"
)
_LOOKUP = re.compile(r"(?:.*\.)?_?(?:get|find|fetch|load|has|read|lookup|remove|delete)(?![a-z])")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_DOTTED = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|->|#)[A-Za-z_$][\w$]*)+")
"""Names of classes, modules and fields."""


def find_assigned(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the secrets that are assigned to a telling name.

    >>> [text[a:b] for text in ["DB_PASSWORD=xNKu8iS2G8NP"] for a, b in find_assigned(text)]
    ['xNKu8iS2G8NP']
    """
    small = text.lower()
    if len(small) != len(text):  # some capitals become two letters
        small = text.translate(_ASCII_SMALL)
    for stem in STEMS:
        at = small.find(stem)
        while at >= 0:
            if (stem != "pw" or _is_word(small, at, at + 2)) and (
                found := _match_assignment(text, at)
            ):
                yield found
            at = small.find(stem, at + len(stem))


def _is_word(small: str, start: int, end: int) -> bool:
    """Whether no letters stand beside a part of a text in small letters."""
    beside = small[start - 1 : start] + small[end : end + 1]
    return not any("a" <= c <= "z" for c in beside)


def _match_assignment(text: str, at: int) -> tuple[int, int] | None:
    match = _ASSIGNED.match(text, at, at + REACH + MAX_VALUE)
    if match is None or match.start("value") > at + REACH:
        return None
    if not is_mixed(match["value"]):
        return None
    found = _value(text, match)
    if found is None:
        return None
    start, end, is_quoted = found
    value = text[start:end]
    if not is_mixed(value) or not is_literal(value):
        return None
    before = _NAME_BEFORE.search(text, max(0, at - 40), at)
    name = (before[0] if before else "") + text[at : match.end("rest")]
    between = match["between"].lower()
    needed = needed_bits(name, between)
    if between.startswith("(") and _LOOKUP.match(name):
        return None  # getCredentials("boxOAuth2Api"): the name of one
    if needed is None or _is_other_value(value, needed, between):
        return None
    needed += 0.0 if is_quoted else UNQUOTED
    if not re.search(r"[=:,>(|{\uff1a\uff1d\u300c]|\bby\b|\bis\b", between):
        needed += UNASSIGNED
    return (start, end) if random_bits(value) >= needed else None


def _value(text: str, match: re.Match[str]) -> tuple[int, int, bool] | None:
    """(start, end, whether in quotes) of the value of an assignment."""
    start = match.start("value")
    between = match["between"]
    signs = len(between) - len(between.rstrip(INNER))
    opened = len(between) - signs
    if opened and between[opened - 1] in "\"'`":
        quote = between[opened - 1]
        start -= signs
        end = text.find(quote, start, start + MAX_VALUE + 1)
        if end >= 0 and text[end - 1] == "\\":
            end -= 1  # the quotes are themselves inside a string
        value = text[start:end] if end >= 0 else ""
        if not len(value) >= MIN_VALUE or re.search(r"\s", value):
            return None
        return start, end, True
    cut = _CUT.search(text, start, match.end("value"))
    end = cut.start() if cut else match.end("value")
    if cut and cut[0] in "([":
        return None  # a call or an element
    while end > start and text[end - 1] in _TAIL:
        end -= 1
    if _PARAMETER.match(text, start, end):
        return None
    return (start, end, False) if end - start >= MIN_VALUE else None


def is_literal(value: str) -> bool:
    """Whether a value is not an example, reference, path, hash with its name, or name in a
    program."""
    return not (
        len(value) > MAX_VALUE
        or _EXAMPLE.search(value)
        or any(each in value for each in EXAMPLES)
        or _REFERENCE.search(value)
        or _DOTTED.fullmatch(value)
    )


def is_mixed(value: str) -> bool:
    """Whether letters meet digits, and capitals small letters, as in no word.

    >>> is_mixed("x7Kd9q"), is_mixed("OpenKeyEx"), is_mixed("sha256")
    (True, False, False)
    """
    n = n_changes(value)
    return n > MIN_CHANGES or (n == MIN_CHANGES and any("0" <= c <= "9" for c in value))


def needed_bits(name: str, between: str) -> float | None:
    """Bits of evidence that a value of this name needs; None if the name holds no secret.

    >>> needed_bits("DB_PASSWORD", "="), needed_bits("PASSWORD_RESET_TEMPLATE", "=")
    (6.0, None)
    """
    if re.search(r"\b(?:bearer|basic)\s", between):
        return 0.0 if "basic" in between else STRONG
    if not name.isascii():
        if (bits := _bits_of_other_script(name)) is not None:
            return bits
        name = _strip_accents(name)
    parts = [part.lower() for part in _PARTS.findall(_last_of_several(name))]
    words = [part for part in parts if not part.isdigit()]
    for i in range(len(words) - 1, -1, -1):
        if _NO_SECRET.intersection(words[i + 1 :]) or len(words) - i > 4:
            return None
        if _STRONG_WORD.fullmatch(words[i]) or _ends_with(words[i], _FOREIGN_SECRETS):
            return STRONG
        if words[i] in ("key", "keys", "tokens") or words[i].endswith("token"):
            return _bits_of_key(words[i], words[:i])
        if words[i] == "auth" or _ends_with(words[i], _FOREIGN_KEYS):
            return MEDIUM
        if words[i] == "identified":
            return STRONG
    return None


def _bits_of_key(word: str, before: list[str]) -> float | None:
    """Bits that a value needs for a `key` or `token` and the words before it in the name."""
    if _NO_KEY.intersection(before):
        return None
    if word.startswith("token") or _SECRET_KEYS.intersection(before):
        return STRONG if before else MEDIUM
    is_compound = not word.startswith("key") and word != "token"
    return MEDIUM if before or is_compound else WEAK


def _bits_of_other_script(name: str) -> float | None:
    """Bits that a value needs for a word that is not in Latin letters; None if there is none."""
    name = unicodedata.normalize("NFC", name).lower()
    ends = [(name.rfind(word) + len(word), bits) for word, bits in _OTHER_SCRIPTS if word in name]
    end, bits = max(ends, default=(0, STRONG))
    return bits if ends and len(name) - end <= _AFTER_SCRIPT else None


def _ends_with(part: str, words: tuple[str, ...]) -> bool:
    """Whether a part of a name is one of the words, or a longer one that ends with it."""
    return part in words or (
        len(part) > _MIN_SUFFIX and any(len(w) >= _MIN_SUFFIX and part.endswith(w) for w in words)
    )


def _last_of_several(name: str) -> str:
    """A name without what it belongs to, if it says enough by itself: `sub.auth_token`."""
    last = name.rstrip(".").rpartition(".")[2]
    return last if len(_PARTS.findall(last)) > 1 else name


def _is_other_value(value: str, needed: float, between: str) -> bool:
    """Whether a value is a hash or UUID that this name need not hold, or no base64 of a login."""
    if "basic" in between or needed == 0.0:
        return not _is_login(value)
    if _UUID.fullmatch(value):
        return needed > STRONG
    return bool(_HEX.fullmatch(value.replace("/", ""))) and (needed >= WEAK or len(value) < 16)


def _is_login(value: str) -> bool:
    """Whether a value is base64 of a name and a password that is not a word, as in Basic
    headers."""
    try:
        login = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    password = login.partition(b":")[2].decode("ascii", "ignore")
    return len(password) >= MIN_PASSWORD and random_bits(password) >= LOGIN


def looks_random(value: str, bits: float) -> bool:
    """Whether a value has `bits` of evidence that it is random and is the secret itself."""
    return is_mixed(value) and is_literal(value) and random_bits(value) >= bits
