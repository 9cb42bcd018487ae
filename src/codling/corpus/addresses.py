"""E-mail and IP addresses of people and machines in source code.

Input: a text. Output: the places of addresses. Addresses that belong to nobody stay: example
domains, private and reserved networks, public name servers; and so do version numbers that look
like addresses.

Not here: what replaces them (redact.py).
"""

import ipaddress
import re
from collections.abc import Iterator

_LOCAL = re.compile(r"(?<![\w.+%/-])(?:(?<!:)|(?<=mailto:))[A-Za-z0-9][\w.+%-]{0,63}\Z", re.ASCII)
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.)+([A-Za-z]{2,18})(?![\w(\[@])", re.ASCII
)
_NOBODYS_DOMAINS = (
    r"(?:.*\.)?(?:example|test|invalid|localhost|local|internal|lan)(?:\.\w+)*|"
    r"(?:.*\.)?(?:example|domain|foo|bar|baz|foobar|spam|eggs|email|mail|host|server|site|xyz|abc|"
    r"yourdomain|mydomain|your-domain|company|yourcompany|test|acme-corp)\.(?:com|org|net|edu|io|co)|"
    r"users\.noreply\.github\.com"
)
_NOBODY = re.compile(
    rf"(?:git|hg|svn|noreply|no-reply|user|username|name|you|your\.?name|me|foo|bar)@.*|"
    rf".*@(?:{_NOBODYS_DOMAINS})",
    re.IGNORECASE,
)
_TOP_DOMAINS_LIST = """
    com org net edu gov mil int info biz name pro aero coop museum mobi asia tel jobs travel
    cat io ai dev app xyz online site tech cloud blog shop store club live email agency
    digital media network software systems solutions science academy technology engineering
    page
"""
_TOP_DOMAINS = frozenset(_TOP_DOMAINS_LIST.split())
_COUNTRIES_LIST = """
    ac ad ae af ag al am ar at au az ba bd be bg bh bo br by ca cc ch ci cl cm cn co cr cu cy
    cz de dk do dz ec ee eg es eu fi fm fr ge gr gt hk hr hu id ie il im in ir is it jo jp ke
    kr kw kz lb li lk lt lu lv ly ma mc md me mg mk ml mn mt mu mx my ng nl no np nu nz om pa
    pe ph pk pl pm pr pt py qa ro rs ru sa se sg si sk sn su sv sy th tk tn tr tv tw tz ua ug
    uk us uy uz ve vn ws za zm zw
"""
_COUNTRIES = frozenset(_COUNTRIES_LIST.split())


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the e-mail addresses that may be somebody's."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = _LOCAL.search(text, max(0, at - 65), at) if domain else None
        if domain and local and _is_somebodys(text[local.start() : domain.end()], domain[1]):
            yield local.start(), domain.end()
        at = text.find("@", at + 1)


def _is_somebodys(address: str, top: str) -> bool:
    known = top.lower() in _TOP_DOMAINS or top.lower() in _COUNTRIES
    return known and not _NOBODY.fullmatch(address)


_IPV4 = re.compile(r"(?<![\w.])(?<![\w.]-)(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9a-fA-F]{1,4}:){3,7}(?::|[0-9a-fA-F]{1,4})(?::?[0-9a-fA-F]{1,4}){0,5}(?![\w:])"
)
_IPV4_MIDDLE = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d", re.ASCII)
_IPV6_MIDDLE = re.compile(r":[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}:")
_VERSION = re.compile(
    r"(?i)(?:version|\bver\b|\bv|release|\brev\b|build|\boid\b|[=<>~!^]=|[\w]/|sdk|api|chapter|section|"
    r"§|since|copyright|rfc)\W{0,4}[^\n]{0,12}$"
)
_WELL_KNOWN_LIST = """
    8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 149.112.112.112 208.67.222.222 208.67.220.220
    4.2.2.1 4.2.2.2 114.114.114.114 223.5.5.5 223.6.6.6 119.29.29.29 180.76.76.76 77.88.8.8
    64.6.64.6 1.2.3.4 1.2.3.5 2.3.4.5 4.3.2.1 5.6.7.8 1.1.1.0 1.2.3.0 2.2.2.2 3.3.3.3 4.4.4.4
    5.5.5.5 2001:4860:4860::8888 2001:4860:4860::8844 2606:4700:4700::1111
    2606:4700:4700::1001 2620:fe::fe 1:2:3:4:5:6:7:8
"""
_WELL_KNOWN = frozenset(_WELL_KNOWN_LIST.split())


def find_ipv4(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of public IPv4 addresses."""
    for start in _starts(text, _IPV4_MIDDLE, "0123456789"):
        match = _IPV4.match(text, start)
        if match and _is_public(match[0]):
            before = text[max(0, start - 32) : start]
            if not _VERSION.search(before):
                yield match.span()


def find_ipv6(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of public IPv6 addresses."""
    for start in _starts(text, _IPV6_MIDDLE, "0123456789abcdefABCDEF:"):
        match = _IPV6.match(text, start)
        if match and _is_public(match[0]):
            yield match.span()


def _starts(text: str, middle: re.Pattern[str], characters: str) -> Iterator[int]:
    """Where the words begin that hold `middle` and up to there only `characters`.

    `middle` begins with one fixed character, which is found fast.
    """
    last = -1
    for match in middle.finditer(text):
        start = match.start()
        while start and text[start - 1] in characters:
            start -= 1
        if start != last:
            yield start
        last = start


def _is_public(shown: str) -> bool:
    if shown in _WELL_KNOWN:
        return False
    try:
        address = ipaddress.ip_address(shown)
    except ValueError:
        return False
    if address.version == 4 and (shown.endswith((".0", ".255")) or shown.startswith("0.")):
        return False  # a network, a mask or a version more often than a machine
    return address.is_global and not address.is_multicast
