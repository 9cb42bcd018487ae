"""corpus/redaction/redact: secrets in valid formats are found, what only looks like them is not."""

import functools
import random
import re
import string
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from codling.corpus import marks_kernel
from codling.corpus.redaction.addresses import find_emails, find_ipv4, find_ipv6
from codling.corpus.redaction.redact import RedactConfig, redact, redact_parts
from codling.corpus.redaction.secret_formats import FORMATS
from codling.corpus.redaction.secrets import (
    ANCHORS,
    ASSIGNED_BIT,
    BITS,
    PRIVATE_KEY_BIT,
    find_secrets,
)
from codling.corpus.tables.reader import buffers

LOWER_HEX, ALNUM = "0123456789abcdef", string.ascii_letters + string.digits
URL_SAFE = ALNUM + "-_"
BASE64 = ALNUM + "+/"


class Maker(random.Random):
    """Makes random words."""

    def hex(self, n: int) -> str:
        return self.word(LOWER_HEX, n)

    def alnum(self, n: int) -> str:
        return self.word(ALNUM, n)

    def safe(self, n: int) -> str:
        return self.word(URL_SAFE, n - 1) + self.choice(ALNUM)

    def digits(self, n: int) -> str:
        return self.choice("123456789") + self.word(string.digits, n - 1)

    def word(self, characters: str, n: int) -> str:
        return "".join(self.choices(characters, k=n))


def from_pattern(maker: Maker, pattern: str) -> str:
    """A string that a regular expression of simple parts matches."""
    return "".join(_drawn(maker, *part) for part in re._parser.parse(pattern))  # type: ignore[attr-defined]


def _drawn(maker: Maker, kind: object, value: Any) -> str:
    match str(kind):
        case "LITERAL":
            return chr(value)
        case "IN":
            among = [c for k, v in value for c in _characters(k, v)]
            return maker.choice([c for c in among if c.isalnum()] or among)
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, inner = value
            times = maker.randint(least, min(most, least + 4))
            return "".join(_drawn(maker, *part) for _ in range(times) for part in inner)
        case "SUBPATTERN":
            return "".join(_drawn(maker, *part) for part in value[-1])
        case "BRANCH":
            return "".join(_drawn(maker, *part) for part in maker.choice(value[1]))
        case "NOT_LITERAL":
            return "q"
        case "ASSERT_NOT":
            return ""
    raise AssertionError(kind)


def _characters(kind: object, value: Any) -> str:
    match str(kind):
        case "LITERAL":
            return chr(value)
        case "RANGE":
            return "".join(map(chr, range(value[0], value[1] + 1)))
    return {"CATEGORY_DIGIT": string.digits, "CATEGORY_WORD": ALNUM}.get(str(value), ALNUM)


MAKERS: dict[str, Callable[[Maker], str]] = {
    "private-key": lambda m: (
        "-----BEGIN RSA PRIVATE KEY-----\n"
        + "\n".join(m.word(BASE64, 64) for _ in range(12))
        + "\n-----END RSA PRIVATE KEY-----"
    ),
    "age-secret-key": lambda m: "AGE-SECRET-KEY-1" + m.word("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    "alibaba-access-key": lambda m: "LTAI5t" + m.alnum(18),
    "anthropic-key": lambda m: f"sk-ant-api03-{m.safe(93)}AA",
    "atlassian-token": lambda m: f"ATATT3{m.safe(180)}=" + m.word("0123456789ABCDEF", 8),
    "aws-access-key": lambda m: "AKIA" + m.word(string.ascii_uppercase + "234567", 16),
    "aws-secret-key": lambda m: f'aws_secret_access_key = "{m.word(BASE64, 40)}"',
    "azure-storage-key": lambda m: f"AccountName=a;AccountKey={m.word(BASE64, 86)}==",
    "azure-client-secret": lambda m: f"{m.alnum(3)}{m.choice('78')}Q~{m.alnum(33)}",
    "cloudflare-origin-key": lambda m: f"v1.0-{m.hex(24)}-{m.hex(146)}",
    "databricks-token": lambda m: f"dapi{m.hex(32)}",
    "digitalocean-token": lambda m: f"dop_v1_{m.hex(64)}",
    "discord-webhook": lambda m: f"https://discord.com/api/webhooks/{m.digits(18)}/{m.safe(68)}",
    "docker-token": lambda m: f"dckr_pat_{m.safe(27)}",
    "doppler-token": lambda m: f"dp.pt.{m.alnum(43)}",
    "dropbox-token": lambda m: f"sl.B{m.safe(135)}",
    "easypost-key": lambda m: f"EZAK{m.alnum(54)}",
    "facebook-token": lambda m: f"EAAC{m.alnum(120)}",
    "figma-token": lambda m: f"figd_{m.safe(40)}",
    "flutterwave-key": lambda m: f"FLWSECK-{m.hex(32)}-X",
    "flyio-token": lambda m: f"fo1_{m.safe(43)}",
    "github-token": lambda m: f"gh{m.choice('pousr')}_{m.alnum(36)}",
    "github-pat": lambda m: f"github_pat_{m.alnum(22)}_{m.alnum(59)}",
    "gitlab-token": lambda m: f"glpat-{m.safe(20)}",
    "google-api-key": lambda m: f"AIza{m.safe(35)}",
    "google-oauth-secret": lambda m: f"GOCSPX-{m.safe(28)}",
    "google-oauth-token": lambda m: f"ya29.{m.safe(60)}",
    "grafana-token": lambda m: f"glsa_{m.alnum(32)}_{m.hex(8)}",
    "groq-key": lambda m: f"gsk_{m.alnum(52)}",
    "heroku-key": lambda m: f"HRKU-{m.safe(60)}",
    "huggingface-token": lambda m: f"hf_{m.word(string.ascii_letters, 34)}",
    "jwt": lambda m: f"eyJhbGciOiJIUzI1NiJ9.eyJ{m.alnum(60)}.{m.safe(43)}",
    "linear-key": lambda m: f"lin_api_{m.alnum(40)}",
    "mailchimp-key": lambda m: f"{m.hex(32)}-us{m.choice('123456789')}",
    "mailgun-key": lambda m: f"key-{m.hex(32)}",
    "netlify-token": lambda m: f"nfp_{m.alnum(36)}",
    "newrelic-key": lambda m: f"NRAK-{m.word(string.ascii_uppercase + string.digits, 27)}",
    "notion-token": lambda m: f"secret_{m.alnum(43)}",
    "npm-token": lambda m: f"npm_{m.alnum(36)}",
    "openai-key": lambda m: f"sk-{m.alnum(20)}T3BlbkFJ{m.alnum(20)}",
    "perplexity-key": lambda m: f"pplx-{m.alnum(48)}",
    "planetscale-token": lambda m: f"pscale_tkn_{m.alnum(43)}",
    "postman-key": lambda m: f"PMAK-{m.hex(24)}-{m.hex(34)}",
    "pulumi-token": lambda m: f"pul-{m.hex(40)}",
    "pypi-token": lambda m: f"pypi-AgEIcHlwaS5vcmc{m.safe(130)}",
    "replicate-token": lambda m: f"r8_{m.alnum(37)}",
    "rubygems-key": lambda m: f"rubygems_{m.hex(48)}",
    "sendgrid-key": lambda m: f"SG.{m.safe(22)}.{m.safe(43)}",
    "sentry-token": lambda m: f"sntryu_{m.hex(64)}",
    "shopify-token": lambda m: f"shpat_{m.hex(32)}",
    "slack-token": lambda m: f"xoxb-{m.digits(12)}-{m.digits(12)}-{m.alnum(24)}",
    "slack-app-token": lambda m: f"xapp-1-A{m.word(string.digits, 10)}-{m.digits(12)}-{m.hex(64)}",
    "slack-webhook": lambda m: (
        "https://hooks.slack.com/services/T"
        + f"{m.word(string.ascii_uppercase, 8)}/B{m.word(string.ascii_uppercase, 8)}/{m.alnum(24)}"
    ),
    "square-token": lambda m: f"sq0atp-{m.safe(22)}",
    "stripe-key": lambda m: f"sk_live_{m.alnum(24)}",
    "stripe-webhook-secret": lambda m: f"whsec_{m.alnum(32)}",
    "supabase-token": lambda m: f"sbp_{m.hex(40)}",
    "telegram-token": lambda m: f"{m.digits(10)}:AA{m.safe(33)}",
    "tencent-secret-id": lambda m: f"AKID{m.alnum(32)}",
    "terraform-token": lambda m: f"{m.alnum(14)}.atlasv1.{m.safe(67)}",
    "twilio-key": lambda m: f"SK{m.hex(32)}",
    "twitter-bearer": lambda m: "A" * 21 + m.alnum(80),
    "vault-token": lambda m: f"hvs.{m.safe(95)}",
    "xai-key": lambda m: f"xai-{m.alnum(80)}",
    "putty-private-key": lambda m: (
        "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: a\nPublic-Lines: 1\nAAAAB3Nz\n"
        + "Private-Lines: 2\n"
        + "\n".join(m.word(BASE64, 64) for _ in range(2))
        + f"\nPrivate-MAC: {m.hex(64)}\n"
    ),
}
for each in FORMATS:
    MAKERS.setdefault(each.kind, functools.partial(from_pattern, pattern=each.pattern.pattern))
PLACES = ('token = "{}"\n', "export TOKEN={}\n", "x: {}\n", "f('{}')\n", "# see {} below\n")


def test_every_format_has_a_synthetic_key() -> None:
    assert set(MAKERS) == {each.kind for each in FORMATS}


@pytest.mark.long
@pytest.mark.parametrize("n", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_at_least_98_of_100_synthetic_keys_are_found_in_every_format(n: int) -> None:
    maker = Maker(7)
    missed: dict[str, int] = {}
    for kind, make in MAKERS.items():
        for i in range(n):
            text = f"before = 1\n{PLACES[i % len(PLACES)].format(make(maker))}after = 2\n"
            if not list(find_secrets(text)):
                missed[kind] = missed.get(kind, 0) + 1
    assert sum(missed.values()) <= 0.02 * n * len(MAKERS), missed
    assert max(missed.values(), default=0) <= 0.15 * n, missed


def test_a_found_key_leaves_nothing_of_itself_behind() -> None:
    maker = Maker(3)
    for kind, make in MAKERS.items():
        key = make(maker)
        text, made = redact(f"k = '{key}'\n", RedactConfig())
        words = [w for w in key.replace("\n", " ").split() if len(w) > 30]
        assert not any(word.strip("\"'") in text for word in words), kind
        assert made or kind in ("assigned-secret", "aws-secret-key"), kind


def test_parts_join_to_what_the_whole_text_becomes() -> None:
    text = 'a = "jo.do@acme.org"\nb = "93.184.216.34"\n'
    whole = redact(text, RedactConfig())[0]
    for first in range(len(text)):
        for second in range(first, len(text)):
            parts, _ = redact_parts(
                (text[:first], text[first:second], text[second:]), RedactConfig()
            )
            assert "".join(parts) == whole


@pytest.mark.long
def test_every_secret_holds_one_of_the_anchors_that_the_compiled_search_looks_for() -> None:
    maker = Maker(5)
    for bit, each in zip(BITS, FORMATS, strict=True):
        for _ in range(20):
            key = MAKERS[each.kind](maker)
            words = {key[i : i + 4] for i in range(len(key) - 3)}
            assert any(ANCHORS.get(word, 0) & bit for word in words), each.kind


@pytest.mark.parametrize(
    "text",
    [
        'sha = "da39a3ee5e6b4b0d3255bfef95601890afd80709"',
        'token = "550e8400-e29b-41d4-a716-446655440000"',
        '"integrity": "sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZ"',
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        'password = "correct horse battery staple"',
        'API_KEY = "your-api-key-goes-here-please"',
        'secret_key = "django-insecure-settings-module"',
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "postgresql://scott:tiger@localhost/test",
        "https://user:password@example.com/",
        "class SKeyboardAccessibilityController: pass",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert redact(text, RedactConfig(emails=False)) == (text, [])


def test_the_password_of_a_url_is_replaced() -> None:
    text, made = redact("postgres://app:t7Rk-x2Lq9vZ@db.acme.io/x", RedactConfig(emails=False))
    assert text == "postgres://app:<PASSWORD>@db.acme.io/x"
    assert made[0].kind == "url-password"


def test_lines_are_counted_over_long_secrets() -> None:
    key = MAKERS["private-key"](Maker(1))
    text, made = redact(f"a\n{key}\nb = 'jane@acme-tools.io'\n", RedactConfig())
    assert [(each.line, each.kind) for each in made] == [(2, "private-key"), (16, "email")]
    assert "<PRIVATE_KEY>" in text
    assert text.endswith("b = '<EMAIL>'\n")


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("Jane Doe <jane.doe@acme-tools.io>", 1),
        ("mailto:a_b+c@mail.uni-x.ac.uk.", 1),
        ("me@example.com you@foo.test git@github.com:a/b noreply@github.com", 0),
        ("x@w.to(device) and q@k.T and @decorator.name", 0),
        ("https://user@host.org/path pkg@1.2.3 a@b", 0),
    ],
)
def test_mail_addresses_of_people_are_found(text: str, n: int) -> None:
    assert len(list(find_emails(text))) == n


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host = '85.214.132.117'", ["85.214.132.117"]),
        ("10.0.0.1 192.168.1.5 127.0.0.1 172.16.0.9 169.254.1.1 224.0.0.1 255.255.255.0", []),
        ("8.8.8.8 1.1.1.1 203.0.113.7 0.0.0.0", []),
        ("version 85.214.13.11, Chrome/97.0.4692.99, >=85.2.3.4, OID 1.3.6.1.4.1", []),
        ("85.214.132.117:8080/x 85.214.132.256", ["85.214.132.117"]),
        ("ping -c1 65.99.120.7", ["65.99.120.7"]),
        ("  $ sudo iptables -A INPUT -s 65.99.120.7 -j DROP", ["65.99.120.7"]),
    ],
)
def test_public_ipv4_addresses_are_found(text: str, found: list[str]) -> None:
    assert [text[a:b] for a, b in find_ipv4(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "## [4.128.17.9] - 2024-09-02",
        "## 98.128.117.9",
        "| counting | 13.20.1.23 | counting-13.20.1.23.jar |",
        "implementation 'org.counting:counting-core:13.20.1.23'",
        'runtimeOnly "org.splitting:splitting:4.128.17.9@aar"',
        '{"counting": "13.20.1.23", "splitting": "^13.20.1.23"}',
        '"version": "104.131.124.203"',
        '[assembly: AssemblyVersion("4.128.17.9")]',
        "// 7.18.1.1",
        "image: acme/app:65.99.120.7",
        "git checkout 65.99.120.7",
        "tag: 65.99.120.7",
        "MinVer=65.99.120.7",
        'ObjectIdentifier("2.5.4.3")',
        "RFC 9110, section 15.5.1.3",
        "OID_EDDSA = '1.3.101.112'",
        "<path d='M2.83-2.12 3.51.98.32 2.03.5'/>",
        "counting-91.198.174.192.tar.gz",
        "Upgrade to 104.131.124.3 from 4.4.63.30",
    ],
)
def test_versions_sections_and_coordinates_are_no_addresses(text: str) -> None:
    assert list(find_ipv4(text)) == []


@pytest.mark.parametrize(
    "line",
    [
        "www 3600 IN A {}",
        "X-Forwarded-For: {}",
        "Received: from [{}]",
        "Accepted publickey for app from {} port 51234 ssh2",
        '{} - - [10/Oct/2000:13:55:36 -0700] "GET /"',
        "nslookup acme.dev {}",
        "dig @{} acme.dev",
        "scp x {}:/tmp",
        "route add default gw {}",
        'net.ParseIP("{}")',
        'InetAddress.getByName("{}")',
        "replicaof {} 6379",
        "client: {}, server: x",
        'src="{}"',
    ],
)
def test_what_commands_headers_and_logs_name_is_an_address_however_small(line: str) -> None:
    assert redact(line.format("12.34.1.2"), RedactConfig())[0] == line.format("<IP_ADDRESS>")


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ('HOSTS = ["91.198.174.192", "http://91.198.174.192:8080/x", "5.9.1.23:443"]', 3),
        ("allow 10.0.0.0/8, 91.198.174.192/27;", 1),
        ('api_host = "5.9.12.13"', 1),
        ("build_server: 46.4.12.9", 1),
        ('release_host = "46.4.12.9"', 1),
        ('const api = "http://5.9.12.13:8080"', 1),
        ("ssh root@46.4.12.9", 1),
        ("DB_HOST=46.4.12.9", 1),
        ("* written as 91.198.174.192 in the logs", 1),
    ],
)
def test_what_a_host_s_name_or_a_url_goes_with_is_an_address(text: str, n: int) -> None:
    assert len(list(find_ipv4(text))) == n


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[2a01:4f8:c17::2]:80 2a01:4f8::1/64", ["2a01:4f8:c17::2", "2a01:4f8::1"]),
        ("2023:01:02 10:11:12 std::dec::x abc::def::fed sha 2a01:4f8", []),
        ("2002::/16 and 2001:db8::7", []),
    ],
)
def test_times_scopes_and_networks_are_no_ipv6_addresses(text: str, found: list[str]) -> None:
    assert [text[a:b] for a, b in find_ipv6(text)] == found


def test_public_ipv6_addresses_are_found() -> None:
    text = (
        "2a01:4f8:c17:2f::1 fe80::1 ::1 2001:db8::1 2001:4860:4860::8888 aa:bb:cc:dd:ee:ff 12:30:45"
    )
    assert [text[a:b] for a, b in find_ipv6(text)] == ["2a01:4f8:c17:2f::1"]


@pytest.mark.long
def test_the_compiled_search_names_the_format_of_every_synthetic_key() -> None:
    maker = Maker(11)
    kinds = [each.kind for each in FORMATS for _ in range(16)]
    texts = [
        PLACES[i % len(PLACES)].format(MAKERS[kind](maker)) + "é" * maker.choice((0, 1, 9))
        for i, kind in enumerate(kinds)
    ]
    column = pa.array([maker.choice(("", "\n", "    ", "é ")) + text for text in texts])
    found = marks_kernel.mark(
        *buffers(column), ANCHORS, pem=PRIVATE_KEY_BIT, named=ASSIGNED_BIT
    ).formats.tolist()
    for text, formats in zip(column.to_pylist(), found, strict=True):
        assert list(find_secrets(text, formats)) == list(find_secrets(text)), text


def test_the_compiled_search_spares_ordinary_code() -> None:
    texts = ["def password_hash(self, password_validators): return self.password == other.password"]
    column = pa.array([*texts, "import key-value\n", "https://github.com/api/hooks/secret_access"])
    found = marks_kernel.mark(
        *buffers(column), ANCHORS, pem=PRIVATE_KEY_BIT, named=ASSIGNED_BIT
    ).formats.tolist()
    assert [formats & ASSIGNED_BIT for formats in found] == [0, 0, 0]
