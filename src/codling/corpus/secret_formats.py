"""The formats of keys and tokens of well-known issuers.

Every format has anchors, strings of four or more characters of which each match holds one, so that
most texts are passed over by a cheap search; `?` in an anchor stands for any letter or digit, `#`
for any hexadecimal digit. Group 1 of a pattern, where there is one, is the secret alone.

Sources: the issuers' documentation of their prefixes, as collected in GitHub's list of supported
secret scanning patterns and in gitleaks (MIT). Not here: the search and its checks (secrets.py).
"""

import re
from typing import NamedTuple


class Format(NamedTuple):
    """One kind of secret."""

    kind: str
    anchors: tuple[str, ...]
    """Strings of which each match holds one; `?` and `#` stand for other characters."""
    pattern: re.Pattern[str]
    min_entropy: float
    """Bits per character below which a match is a placeholder."""
    placeholder: str
    at_anchor: bool = False
    """The pattern is tried only where an anchor begins: much faster where it has no fixed start."""


_AFTER = r"(?![A-Za-z0-9_/+-])"
"""A key is no part of a longer word; secrets.py looks at what stands before it."""


def _key(kind: str, anchors: str, pattern: str, min_entropy: float = 3.0) -> Format:
    whole = re.compile((f"(?:{pattern})" if "|" in pattern else pattern) + _AFTER)
    return Format(kind, tuple(anchors.split()), whole, min_entropy, "<KEY>")


_SECRET_ACCESS = """
    secret_access secret-access secretAccess secretaccess SecretAccess SECRET_ACCESS SECRET-ACCESS
"""
_ASSIGNED = """
    secret Secret SECRET password Password PASSWORD passwd PASSWD api_key apiKey apikey ApiKey
    API_KEY APIKEY api-key auth_token authToken AUTH_TOKEN auth-token access_token accessToken
    ACCESS_TOKEN access-token
"""
"""How the names of variables that hold secrets end or begin."""

FORMATS: tuple[Format, ...] = (
    Format(
        "private-key",
        ("PRIVATE KEY",),
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----([\s\S]{40,20000}?)"
            r"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        ),
        3.5,
        "<PRIVATE_KEY>",
    ),
    _key(
        "age-secret-key",
        "AGE-SECRET-KEY-1",
        r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    ),
    _key("alibaba-access-key", "LTAI", r"LTAI[A-Za-z0-9]{12,26}", 3.3),
    _key("anthropic-key", "sk-ant-", r"sk-ant-(?:api|admin|oat|sid)\d\d-[\w-]{80,120}"),
    _key("atlassian-token", "ATATT3", r"ATATT3[\w-]{60,220}=?[A-F0-9]{0,8}"),
    _key("aws-access-key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    Format(
        "aws-secret-key",
        (
            "secret_access",
            "secret-access",
            "secretAccess",
            "secretaccess",
            "SecretAccess",
            "SECRET_ACCESS",
            "SECRET-ACCESS",
        ),
        re.compile(
            r"(?i:secret[_-]?access[_-]?key)[\"']?\s*(?:=>|[:=])\s*[\"']?"
            r"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
        ),
        4.0,
        "<KEY>",
        at_anchor=True,
    ),
    Format(
        "azure-storage-key",
        ("AccountKey", "SharedAccessKey"),
        re.compile(r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{42,86}={1,2})"),
        4.0,
        "<KEY>",
    ),
    _key(
        "azure-client-secret",
        "#Q~? #Q~~ #Q~. #Q~_ #Q~-",
        r"[\w~.-]{3}\dQ~[\w~.-]{31,34}",
        3.5,
    ),
    _key("cloudflare-origin-key", "v1.0-", r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}"),
    _key("databricks-token", "dapi", r"dapi[a-f0-9]{32}(?:-\d)?"),
    _key("digitalocean-token", "_v1_", r"do[opr]_v1_[a-f0-9]{64}"),
    Format(
        "discord-webhook",
        ("/api/webhooks/",),
        re.compile(r"https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/(\d{17,20}/[\w-]{60,80})"),
        3.5,
        "<KEY>",
    ),
    _key("docker-token", "dckr_pat_ dckr_oat_", r"dckr_[po]at_[\w-]{27,36}"),
    _key("doppler-token", "dp.pt. dp.st. dp.ct.", r"dp\.[psc]t\.(?:\w+\.)?[A-Za-z0-9]{40,44}"),
    _key("dropbox-token", "sl.?", r"sl\.[\w-]{130,}"),
    _key("easypost-key", "EZAK EZTK", r"EZ[AT]K[A-Za-z0-9]{54}"),
    _key("facebook-token", "EAAC EAAB EAAG EAAM", r"EAA[CBGM][A-Za-z0-9]{90,}"),
    _key("figma-token", "figd_", r"figd_[\w-]{40}"),
    _key("flutterwave-key", "FLWSECK", r"FLWSECK(?:_TEST)?-[a-f0-9]{32}-X"),
    _key("flyio-token", "fo1_", r"fo1_[\w-]{43}"),
    _key("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,251}"),
    _key("github-pat", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _key(
        "gitlab-token",
        "glpat- gldt- glrt- glptt- glcbt- glsoat- glft-",
        r"gl(?:pat|dt|rt|cbt|soat|ft)-[\w-]{20,64}(?:\.[\w.]{5,24})?|glptt-[a-f0-9]{40}",
    ),
    _key("google-api-key", "AIza", r"AIza[\w-]{35}"),
    _key("google-oauth-secret", "GOCSPX-", r"GOCSPX-[\w-]{28}"),
    _key("google-oauth-token", "ya29", r"ya29\.[\w-]{30,}"),
    _key(
        "grafana-token",
        "glsa_ glc_",
        r"glsa_[A-Za-z0-9]{32}_[a-fA-F0-9]{8}|glc_[A-Za-z0-9+/]{32,400}={0,2}",
    ),
    _key("groq-key", "gsk_", r"gsk_[A-Za-z0-9]{52}"),
    _key("heroku-key", "HRKU-", r"HRKU-[\w-]{36,64}"),
    _key("huggingface-token", "hf_? api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{34}"),
    _key("jwt", "eyJ?", r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    _key("linear-key", "lin_api_ lin_oauth_", r"lin_(?:api|oauth)_[A-Za-z0-9]{40,64}"),
    _key("mailchimp-key", "-us#", r"[a-f0-9]{32}-us\d{1,2}"),
    _key("mailgun-key", "key-", r"key-[a-f0-9]{32}"),
    _key("netlify-token", "nfp_", r"nfp_[A-Za-z0-9]{36}"),
    _key("newrelic-key", "NRAK- NRII- NRJS- NRRA-", r"NR(?:AK|II|JS|RA)-[A-Za-z0-9-]{19,42}"),
    _key("notion-token", "ntn_ ret_", r"ntn_\d{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43}", 3.5),
    _key("npm-token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _key(
        "openai-key",
        "T3BlbkFJ sk-proj- sk-svcacct- sk-admin- sk-None-",
        r"sk-(?:(?:proj|svcacct|admin|None)-)?[\w-]{20,100}T3BlbkFJ[\w-]{20,100}|"
        r"sk-(?:proj|svcacct|admin)-[\w-]{40,180}",
    ),
    _key("perplexity-key", "pplx-", r"pplx-[A-Za-z0-9]{48,56}"),
    _key("planetscale-token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[\w.=-]{32,64}"),
    _key("postman-key", "PMAK-", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    _key("pulumi-token", "pul-", r"pul-[a-f0-9]{40}"),
    _key("pypi-token", "pypi-AgE", r"pypi-AgE[Nn][\w-]{50,}|pypi-AgEI[\w-]{50,}"),
    _key("replicate-token", "r8_?", r"r8_[A-Za-z0-9]{37}"),
    _key("rubygems-key", "rubygems_", r"rubygems_[a-f0-9]{48}"),
    _key("sendgrid-key", "SG.? SG.- SG._", r"SG\.[\w-]{22}\.[\w-]{43}"),
    _key("sentry-token", "sntrys_ sntryu_", r"sntryu_[a-f0-9]{64}|sntrys_eyJ[A-Za-z0-9+/=_-]{60,}"),
    _key("shopify-token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    _key(
        "slack-token",
        "xoxa- xoxb- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs-",
        r"xox[abeoprs][-.](?:\w+-)*[A-Za-z0-9-]{10,300}",
    ),
    _key("slack-app-token", "xapp-", r"xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{32,}"),
    Format(
        "slack-webhook",
        ("hooks.slack.com",),
        re.compile(
            r"https://hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/]{40,60})"
        ),
        3.5,
        "<KEY>",
    ),
    _key(
        "square-token", "sq0atp- sq0csp- EAAA", r"sq0atp-[\w-]{22}|sq0csp-[\w-]{43}|EAAA[\w-]{60}"
    ),
    _key(
        "stripe-key",
        "sk_live_ rk_live_ sk_test_ rk_test_",
        r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,247}",
    ),
    _key("stripe-webhook-secret", "whsec_", r"whsec_[A-Za-z0-9+/]{32,64}"),
    _key("supabase-token", "sbp_", r"sbp_[a-f0-9]{40}"),
    _key("telegram-token", ":AA?", r"\d{8,10}:AA[\w-]{33}"),
    _key("tencent-secret-id", "AKID", r"AKID[A-Za-z0-9]{32}"),
    _key("terraform-token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}"),
    _key("twilio-key", "SK## AC##", r"(?:SK|AC)[a-f0-9]{32}"),
    _key("twitter-bearer", "AAAAAAAAAAAAAAAAAAAA", r"A{20,22}([\w%]{60,100})", 4.0),
    _key("vault-token", "hvs. hvb. hvr.", r"hv[sbr]\.[\w-]{24,300}"),
    _key("xai-key", "xai-", r"xai-[A-Za-z0-9]{80}"),
    Format(
        "assigned-secret",
        tuple(_ASSIGNED.split()),
        re.compile(
            r"\w+(?:[_-]?(?i:key))?[\"']?\s*(?:=>|:=|[:=])\s*"
            r"[\"']([A-Za-z0-9+/_.!@#%^&*~-]{20,100}={0,2})[\"']"
        ),
        4.0,
        "<KEY>",
        at_anchor=True,
    ),
)
"""All formats, the particular before the general."""

URL_PASSWORD = re.compile(
    r"://[\w.%+-]{1,64}:([^\s:/@\"'<>{}$%\\*()\[\]]{8,64})@[\w-]",
)
"""The password in a URL: its anchor, the sign @, is looked for with the e-mail addresses."""
