"""E-mail and IP addresses of people and machines in source code.

Input: a text. Output: the places of addresses. Addresses of no person or machine stay: example
domains, private and reserved networks, public name servers.

Four numbers with dots are an address where a URL, a port or a network's length goes with them, or a
name such as `api_host`, a command or a header precedes them. Else a word for versions and
sections, a heading, a package's coordinates or neighbours that are plain numbers speak against it,
and without any of these the numbers decide: versions, sections and OIDs have small ones.

Not here: what replaces them (redact.py).
"""

import ipaddress
import re
from collections.abc import Iterator

_LOCAL = re.compile(r"(?<![\w.+%/-])(?:(?<!:)|(?<=mailto:))[A-Za-z0-9][\w.+%-]{0,63}\Z", re.ASCII)
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.)+([A-Za-z]{2,18})(?![\w(\[@])", re.ASCII
)
_EXAMPLE_DOMAINS = (
    r"(?:.*\.)?(?:example|test|invalid|localhost|local|internal|lan)(?:\.\w+)*|"
    r"(?:.*\.)?(?:example|domain|foo|bar|baz|foobar|spam|eggs|email|mail|host|server|site|xyz|abc|"
    r"yourdomain|mydomain|your-domain|company|yourcompany|test|acme-corp)\.(?:com|org|net|edu|io|co)|"
    r"users\.noreply\.github\.com"
)
_IMPERSONAL = re.compile(
    rf"(?:git|hg|svn|noreply|no-reply|user|username|name|you|your\.?name|me|foo|bar)@.*|"
    rf".*@(?:{_EXAMPLE_DOMAINS})",
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
    """(start, end) of the e-mail addresses that may be a person's."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = _LOCAL.search(text, max(0, at - 65), at) if domain else None
        if domain and local and _may_be_personal(text[local.start() : domain.end()], domain[1]):
            yield local.start(), domain.end()
        at = text.find("@", at + 1)


def _may_be_personal(address: str, top: str) -> bool:
    known = top.lower() in _TOP_DOMAINS or top.lower() in _COUNTRIES
    return known and not _IMPERSONAL.fullmatch(address)


_IPV4 = re.compile(r"(?<![\w.])(?<![\w.]-)(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII)
_IPV6 = re.compile(
    r"(?<![\w:.])[23][0-9a-fA-F]{3}(?::[0-9a-fA-F]{1,4}){0,7}"
    r"(?:::(?:[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4}){0,6})?)?(?![\w:]|\.\d)"
)
"""Public addresses begin so: 2000::/3."""
_IPV4_MIDDLE = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d", re.ASCII)
_IPV6_MIDDLE = re.compile(r":[0-9a-fA-F:]")
_NEAR = 120
"""Characters before that are read, of the same line."""
_SURE_BEFORE = re.compile(
    r"://(?:[^\s/@\"']*@)?$|\b(?:ssh|scp|sftp|rsync|mosh)\b.*@$|\b(?:root|admin|ubuntu|ec2-user)@$|"
    r"^\s*(?:[$#>]\s*)?(?:sudo\s+)?(?:ping|ip6?tables|ufw|nmap|traceroute|telnet|nc|nslookup|dig|whois|"
    r"ftp|snmp\w+|wget|scp|rsync|ip route|route)\s(?:.*[\s@])?$|"
    r"\bIN\s+A\s+$|^\s*(?:Received|(?:X-)?(?:Forwarded|Real|Client|Remote)[\w-]*)\s*:.*[\s,\[(]$|"
    r"\b(?:parseip|getbyname|inet_\w+|ip_?address(?:\.parse)?|ip(?:v4)?addr(?:ess)?)\([\"']$",
    re.IGNORECASE,
)
_SURE_AFTER = re.compile(r"/(?:[89]|[12]\d|3[0-2])(?![\w.])|:\d{2,5}(?![\w.:])")
_LOGGED_AFTER = re.compile(r" port \d{2,5}\b| - \S+ \[\d\d?/\w{3}/")
"""What logs write behind an address: sshd's port, the user and date of web servers."""
_HOST = re.compile(
    r"host|server|addr|(?<![a-z])ips?(?![a-z])|ipv4|proxy|proxies|gateway|dns|(?<![a-z])ns\d?(?![a-z])|"
    r"peer|endpoint|(?<![a-z])ur[il]s?(?![a-z])|listen|bind|connect|ping|ssh|curl|telnet|cidr|subnet|"
    r"netmask|network|allow|deny|remote|router|upstream|broker|inet|machine|replica|slaveof|trusted|nodes?|"
    r"client|(?<![a-z])(?:gw|vip|src|dst)(?![a-z])",
    re.IGNORECASE,
)
_ASSIGNS = re.compile(
    r"[\w\]\"']*\s*(?:=>|:=|[=:(\[,])[\s\"'\[({]*$|[\w]*(?: is| at| to)?[ \t]+[\"'`]?$"
)
_VERSION = re.compile(
    r"version|(?<![a-z])v(?:er)?(?![a-z])|release|(?<![a-z])rev|build|(?<![a-z])oid|sdk|chapter|section|"
    r"§|since|copyright|(?<![a-z])rfc|upgrad|updat|bump|spec(?![a-z])|specification|standard|clause|"
    r"paragraph|figure|table|appendix|firmware|driver|package|dependenc|requires|(?<!dis)patch|"
    r"(?<![a-z])tags?(?![a-z])|checkout|m(?:in|ax)ver(?![a-z])",
    re.IGNORECASE,
)
_VERSION_REACH = 24
"""A word for versions that is farther away than this does not count."""
_NUMBER_BEFORE = re.compile(
    r"^\s*(?:#{1,6}|=+)\s*\[?v?$|^\s*\[$|[~^]$|[<>!=~]=\s?$|\w/$|[\"'][\w.-]+:[\w.-]+:$|\w/[\w.-]+:$|"
    r"(?:(?<![\d.])\d*\.?\d+|\d\.)[ ,-]+$"
)
"""Headings, requirements, products, coordinates, and lists of plain numbers."""
_NUMBER_AFTER = re.compile(
    r"\.(?:jar|war|aar|zip|tar|t?gz|whl|exe|msi|dmg|deb|rpm|dll|so|js|css)\b|@|"
    r"[)\]]?(?: -| \(|,)? ?\(?\d{4}-\d\d|[ ,-]+-?(?:\d*\.\d+|\d+)(?![\w.])| +release"
)
_LIST_BEFORE = re.compile(
    r"(?:[\"'\s,;\[(]*(?:\d{1,3}\.){3}\d{1,3}(?:[:/]\d+[\w./-]*)?[\"'\s,;]*)+$"
)
_LARGE, _MIN_LARGE, _MIN_FIRST = 64, 2, 3
"""Addresses have two numbers as large as this, and no first one as small as an OID's."""
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
        if match and _is_public(match[0]) and _is_address(text, *match.span()):
            yield match.span()


def _is_address(text: str, start: int, end: int) -> bool:
    """Whether four numbers with dots are an address rather than a version or section."""
    before = text[max(0, text.rfind("\n", 0, start) + 1, start - _NEAR) : start]
    after = text[end : end + 24].split("\n", 1)[0]
    if _SURE_BEFORE.search(before) or _LOGGED_AFTER.match(after):
        return True
    listed = _LIST_BEFORE.search(before)
    before = before[: listed.start()] if listed else before
    is_number = _NUMBER_BEFORE.search(before) if not listed else None
    host, version = _last(_HOST, before), _last(_VERSION, before[-_VERSION_REACH:])
    if version is not None:
        near = len(before) - min(len(before), _VERSION_REACH)
        version = None if host and host.end() > near + version.start() else version
    numbers = [int(number) for number in text[start:end].split(".")]
    n_large = sum(n >= _LARGE for n in numbers)
    if _SURE_AFTER.match(after) and version is None and (n_large or after[0] == ":"):
        return not (is_number and before.endswith(":"))
    if host and version is None and (listed or _ASSIGNS.match(before, host.end())):
        return True
    if version is not None or is_number or _NUMBER_AFTER.match(after.lower()):
        return False
    return numbers[0] >= _MIN_FIRST and n_large >= _MIN_LARGE


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = list(pattern.finditer(text))
    return found[-1] if found else None


def find_ipv6(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of public IPv6 addresses."""
    for start in _starts(text, _IPV6_MIDDLE, "0123456789abcdefABCDEF:"):
        match = _IPV6.match(text, start)
        if match and not match[0].endswith("::") and _is_public(match[0]):
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
