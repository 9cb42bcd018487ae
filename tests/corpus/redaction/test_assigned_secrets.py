"""corpus/redaction/assigned_secrets: a telling name and a value by chance, in whatever language."""

import random
import string
import tomllib
from itertools import chain

import pyarrow as pa
import pytest

from codling.corpus import marks_kernel
from codling.corpus.redaction.assigned_secrets import find_assigned, needed_bits
from codling.corpus.redaction.commanded_secrets import find_commanded
from codling.corpus.redaction.randomness import n_changes, random_bits
from codling.corpus.redaction.redact import RedactConfig, redact
from codling.corpus.redaction.secret_formats import FORMATS, read_formats
from codling.corpus.redaction.secrets import (
    ANCHORS,
    ASSIGNED_BIT,
    PRIVATE_KEY_BIT,
    find_secrets,
)
from codling.corpus.tables.reader import buffers

ALNUM = string.ascii_letters + string.digits
SECRET = "q7Rk2xLq9vZt4Wb8"
ASSIGNMENTS = [
    "export DB_PASSWORD={}",
    "DB_PASSWORD={} ./run.sh",
    "sasl_password: {}",
    "  - API_TOKEN={}",
    "- name: API_TOKEN\n  value: {}",
    "ENV SECRET_KEY {}",
    "password = {}",
    "spring.datasource.password={}",
    '"clientSecret": "{}"',
    '<add key="ApiKey" value="{}" />',
    "<password>{}</password>",
    '<string name="api_key">{}</string>',
    "jdbc:postgresql://db.acme.dev/x?user=app&password={}",
    "Server=db;Uid=app;Pwd={};Pooling=true",
    "redis://:{}@cache.acme.dev:6379",
    "https://{}@git.acme.dev/a.git",
    "Authorization: Bearer {}",
    "curl -u app:{} https://acme.dev",
    "mysql -u root -p{} app",
    "tool --auth-token {} --verbose",
    "$env:API_KEY = '{}'",
    "define('DB_PASSWORD', '{}');",
    'private static final String API_KEY = "{}";',
    'public string Password {{ get; set; }} = "{}";',
    'const API_KEY: &str = "{}";',
    'var apiKey = []byte("{}")',
    "const x = process.env.SECRET || '{}'",
    'os.environ.get("SECRET", default="{}")',
    "CREATE USER app IDENTIFIED BY '{}';",
    'variable "db_password" {{\n  default = "{}"\n}}',
    "password: >-\n  {}",
    "token = (\n    '{}'\n)",
    "machine acme.dev login app password {}",
    "The password is {}, please change it.",
    'ConvertTo-SecureString "{}" -AsPlainText',
    "${{SECRET:-{}}}",
    'sub.auth_token("{}")',
    "echo {} | docker login --password-stdin",
    'echo "{}" | docker login -u app --password-stdin registry.acme.dev',
    "printf '%s' {} | helm registry login acme.dev -u app --password-stdin",
    "echo {} | gh auth login --with-token",
    'echo "app:{}" | sudo chpasswd',
    'pw = "{}"',
    "db_pw: {}",
    "PW={}",
    "net user deploy {} /add",
    "net use Z: \\\\srv\\share {} /user:app",
    "rclone obscure {}",
    "htpasswd -bc .htpasswd app {}",
    "masterauth {}",
    'mot_de_passe = "{}"',
    "psexec \\\\srv -u app -p {} cmd",
    'login("app", "{}")',
    "session.login('app', '{}')",
    "smtp.login(user, '{}')",
    "$db = new PDO('mysql:host=db;dbname=app', 'app', '{}');",
    'new PDO(\n    $dsn,\n    $user,\n    "{}",\n    $options)',
    '$db = new mysqli("localhost", "app", "{}", "shop");',
    'MySQLdb.connect("localhost", "app", "{}", "shop")',
    'DriverManager.getConnection("jdbc:mysql://db/app", "app", "{}");',
    'psycopg2.connect("dbname=app user=app password={} host=db")',
    'create_engine("postgresql://app:{}@db/app")',
    "echo {} | kinit admin",
    'kinit admin <<< "{}"',
    "rabbitmqctl -n rabbit add_user app {}",
    "rabbitmqctl change_password app '{}'",
    "vault login {}",
    "vault operator unseal {}",
    'curl --user "app:{}" https://acme.dev',
    "sshpass -p '{}' ssh acme",
    "docker login -u app -p {} registry",
    "machine acme.dev\n  login app\n  password {}",
    "db.acme.dev:5432:shop:app:{}",
    "*:*:*:app:{}",
    "jdbc:oracle:thin:app/{}@//db:1521/x",
    "sqlplus -s app/{}@db",
    "exec sp_addlogin 'app', '{}'",
    "User ID=app; Password = {}; Encrypt=yes",
    "ConvertTo-SecureString -String '{}' -AsPlainText -Force",
    'new NetworkCredential("app", "{}")',
    "acme ansible_host=db ansible_become_password={}",
    "helm install x . --set auth.postgresPassword={}",
    "keytool -storepass {} -list",
    "echo {} | sudo -S ls",
    "useradd -p {} app",
    "ipmitool -U app -P {} power on",
    'passwort = "{}"',
    'kennwort: "{}"',
    'contrase\u00f1a = "{}"',
    "$contrasena = '{}';",
    "clave: {}",
    "DB_SENHA={}",
    'has\u0142o = "{}"',
    'parola = "{}"',
    '\u043f\u0430\u0440\u043e\u043b\u044c = "{}"',
    "\u041f\u0410\u0420\u041e\u041b\u042c: {}",
    '"\u5bc6\u7801": "{}"',
    "snmpget -v2c -c {} h sysDescr.0",
    "snmpwalk -v 3 -u app -l authPriv -a SHA -A {} -x AES h",
    "rocommunity {} 10.0.0.0/8",
    'createUser app SHA "{}" AES',
    "enable secret 0 {}",
    "kubectl create secret generic x --from-literal=db={}",
    "wrangler secret put X <<< {}",
    'gh secret set X --body "{}"',
    "schtasks /create /tn x /ru app /rp {}",
    "rpcclient -U 'app%{}' h",
    "xfreerdp /v:h /u:app /p:{}",
    "bindpw {}",
    "olcRootPW: {}",
    "openssl rsa -in a.pem -passin 'pass:{}'",
    "openssl passwd -6 {}",
    "mkpasswd -m sha-512 {}",
    "wpa_passphrase home {}",
    "radtest app {} localhost 0 testing123",
    "expdp app/{}@db schemas=x",
    "rman target sys/{}@db",
    "db2 connect to shop user app using {}",
    "curl --proxy-user app:{} -x proxy https://h",
    "curl -su 'app:{}' https://h",
    "gh auth login --with-token <<< {}",
    "twine upload -u app -p {} dist/*",
    "dotnet nuget push a.nupkg -k {}",
    "composer config http-basic.acme.dev app {}",
    "vault kv put kv/app pin={}",
    "consul kv put app/db/pw {}",
    "aws ssm put-parameter --name /app/db --type SecureString --value {}",
    "az keyvault secret set --vault-name v -n x --value {}",
    "bw unlock {}",
    'cryptsetup luksOpen /dev/sda1 x <<< "{}"',
    'db, err := sql.Open("mysql", "app:{}@tcp(db:3306)/app")',
    'dsn := "app:{}@unix(/tmp/mysql.sock)/app"',
    'ftp = FTP("h", "app", "{}")',
    'conn = cx_Oracle.connect("app/{}@db")',
    'printf "%s" "{}" | docker secret create db_pass -',
    'sifre = "{}"',
    "şifre: {}",
    "DB_SIFRESI={}",
    'api_anahtari = "{}"',
    'wachtwoord = "{}"',
    "dbwachtwoord={}",
    "geheime_sleutel: {}",
    'toegangstoken = "{}"',
    'lösenord = "{}"',
    "LÖSENORD={}",
    "losenord: {}",
    'apiNyckel: "{}"',
    'salasana = "{}"',
    "api_avain={}",
    "passord: {}",
    'adgangskode = "{}"',
    'パスワード = "{}"',
    "DBパスワード\uff1a{}",
    "パスワードは\u300c{}\u300dです",
    '"アクセストークン": "{}"',
    'himitsu_kagi = "{}"',
    "pasuwado={}",
    '访问密钥: "{}"',
    "令牌\uff1a{}",
    "비밀번호={}",
    'heslo = "{}"',
    "jelszó: {}",
    'lozinka = "{}"',
    'mdp = "{}"',
    'clé_api = "{}"',
    "chave_api: {}",
    'пароль_бд = "{}"',
    "ПАРОЛЬ={}",
    "κωδικός: {}",
]
NO_SECRETS = [
    'PASSWORD_RESET_TEMPLATE = "accounts/Password_Reset_2FA_Email.html"',
    'KEY_SERIALIZER = "org.apache.kafka.common.Serializer2Impl3"',
    'SECRET_NAME = "team/prod/Anthropic-Key-2024-v1"',
    '{"key": "ctrl+shift+down", "vaultKey": "inf-role-id", "secret": "inf-vsqt-01-secret-id"}',
    '"authentication_required": "Die Karte wurde abgelehnt, weil 3D-Secure2 n\u00f6tig ist."',
    "password = getPassword2FA(userName1)",
    "token = parser2.nextToken1Of3()",
    "api_key: ${{ secrets.API_KEY_2 }}",
    "API_KEY=$MY_API_KEY1",
    "password: {{ vault_db2_password }}",
    'primary_key = "a8Xk29dLqP3vR7wT"',
    'public_key = "a8Xk29dLqP3vR7wT"',
    'next_page_token = "a8Xk29dLqP3vR7wT"',
    'password_hash = "$2b$12$abcdefghijklmnopqrstuv"',
    '"password": "md5$seasalt$1e9bf2bf5606aa5c39852cc30f0f6f22"',
    'token = "550e8400-e29b-41d4-a716-446655440000"',
    '"access_token":"2YotnFZFEjr1zCsicMWpAA"',
    "Authorization: Basic dXNlcjpwYXNz",
    'token_endpoint_auth_method = "private_key_jwt2Sig3"',
    "keyboard = KeyboardInterrupt2Handler3",
    "password = 'hunter2'",
    "private_key_path = '/etc/ssl/q7Rk2xLq9vZt.pem'",
    "cat a7Xk29dLqP3vR7wT | docker load --stdin",
    "echo $TOKEN_2F3 | docker login --password-stdin",
    "network use1Case2Three3 of a net user2Group3Name4",
    "pwnSh311c0deX = 'a8Xk29dLqP3vR7wT'",
    'upwards = "a8Xk29dLqP3vR7wT"',
    "to obscure getElement2ById3From4 the view",
    "<Key>6/f/9/6f9898076bb08572403f95dbb86c5b9c85e1e1b3</Key>",
    "https://acme.dev/api/acme-api-types-for-apps-v10/interface/APIMessage",
    '"otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"',
    'secret_key="zuf+tfteSlswRu7BJ86wekitnifILbZam1KYY3TG"',
    "signal.connect(button2Clicked3, 'onClick2Handler')",
    'connect(this, "q7Rk2xLq9vZt4Wb8".length)',
    'socket.connect("q7Rk2xLq9vZt4Wb8", 80)',
    'onLogin("app", userName2Of3())',
    "phrase = 'Password_Reset_2FA_Email'",
    'slave = "q7Rk2xLq9vZt4Wb8"',
    'enclave_id = "q7Rk2xLq9vZt4Wb8"',
    "parotid: q7Rk2xLq9vZt4Wb8",
    "OnCalendar=Mon..Fri *-*-* *:*:00 q7Rk2xLq9vZt4Wb8",
    "docker ps --user app:group",
    "snmp2Trap3Handler4(q)",
    "community = Community2Of3Names4()",
    'sleutelbos = "q7Rk2xLq9vZt4Wb8"',
    'paswoordveld_kleur = "q7Rk2xLq9vZt"',
    "cle_ = q7Rk2",
    'avainsana_id = "q7Rk2xLq9vZt4Wb8"',
    "パスワードを忘れた場合はq7Rk2xLq9vZt4Wb8を見てください",
    'new_connection("app@(q7Rk2xLq9vZt)")',
    "git checkout <<< 3f2a9c1b",
    "kubectl create secret generic x --from-file=ssh-key2=path/to3/key4",
    "rabbitmqctl list_users q7Rk2xLq9vZt4Wb8",
    "\u043f\u0430\u0440\u043a = 'q7Rk2xLq9vZt4Wb8'",
]


@pytest.mark.parametrize("form", ASSIGNMENTS)
def test_a_secret_is_found_however_it_is_assigned(form: str) -> None:
    text, made = redact(f"x = 1\n{form.format(SECRET)}\n", RedactConfig())
    assert SECRET not in text
    assert len(made) == 1


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_a_telling_name_holds_besides_secrets_stays(text: str) -> None:
    assert redact(text, RedactConfig(emails=False)) == (text, [])


def test_the_whole_value_goes_with_signs_at_its_ends() -> None:
    assert redact('HTTP_TOKEN = "$Rfn#RIBX7uDL7Dx-$"', RedactConfig())[0] == 'HTTP_TOKEN = "<KEY>"'
    assert redact("pwd=q7Rk2xLq9vZt;x", RedactConfig())[0] == "pwd=<KEY>;x"


def test_basic_credentials_count_when_they_decode_to_no_word() -> None:
    assert list(find_assigned("Authorization: Basic YXBwOnE3UmsyeExxOXZadDRXYjg="))
    assert not list(find_assigned("Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="))


def test_how_telling_a_name_is_decides_how_much_chance_a_value_needs() -> None:
    assert needed_bits("DB_PASSWORD", "=") == needed_bits("stripeApiKey", "=") == 6.0
    assert needed_bits("DB_PASSWORD", "=") < needed_bits("color_key", "=") < needed_bits("key", "=")
    assert needed_bits("REGISTRY_PASSWORD", "=") == needed_bits("siteSecret", "=") == 6.0
    assert needed_bits("password_field", "=") is None
    assert needed_bits("registry_key", "=") is None
    assert needed_bits("monkey", "=") is None


def test_values_by_chance_have_more_evidence_than_words() -> None:
    draw = random.Random(5)
    drawn = sorted(random_bits("".join(draw.choices(ALNUM, k=16))) for _ in range(400))
    assert drawn[8] > 6  # 98 of 100
    words = "Password_Reset_Template utf8_to_base64 getElementById sha256WithRSAEncryption"
    assert max(map(random_bits, words.split())) < 6
    assert n_changes("aB3x") == 3


def test_the_compiled_search_marks_every_text_in_which_the_rule_finds_something() -> None:
    draw = random.Random(9)
    pieces = [
        "password",
        "key",
        "Token",
        "=",
        ":",
        " ",
        '"',
        "'",
        "\n",
        "value",
        "str",
        "-p",
        " -u ",
        "pw",
        "-stdin",
        "echo ",
        "net use ",
        "rclone obscure ",
        "htpasswd -b f app ",
        "auth login --with-token",
        "chpasswd",
    ]
    pieces += ["connect", "PDO", "login", "kinit", "mysqli", ",", ")", "rabbitmqctl add_user app "]
    pieces += ["vault ", "unseal ", "--user ", ":5432:", ":*:", "sqlplus ", "thin:", "sudo -S", "/"]
    pieces += ["senha", "contrase\u00f1a", "clave", "has\u0142o", "parola", "kennwort"]
    pieces += ["\u041f\u0430\u0440\u043e\u043b\u044c", "\u5bc6\u7801", "@", "<<<"]
    pieces += ["wachtwoord", "l\u00f6senord", "\u30d1\u30b9\u30ef\u30fc\u30c9", "\uff1a", "\u300c"]
    pieces += ["snmpget -c ", "kv put a ", "app:", "@tcp(", " 0 ", "sifre", "avain", "\u5bc6\u94a5"]
    pieces += [
        "(",
        "&",
        ";",
        "q7Rk2xLq",
        "9vZt4Wb8",
        "user",
        "\u00e9",
        "curl ",
        ">",
        "|",
        "\t",
        "by",
    ]
    texts = ["".join(draw.choices(pieces, k=draw.randint(3, 14))) for _ in range(4000)]
    texts += [form.format(SECRET) for form in ASSIGNMENTS]
    found = marks_kernel.mark(
        *buffers(pa.array(texts)), ANCHORS, pem=PRIVATE_KEY_BIT, named=ASSIGNED_BIT
    ).formats.tolist()
    hits = [any(chain(find_assigned(text), find_commanded(text))) for text in texts]
    missed = [text for text, hit, bits in zip(texts, hits, found, strict=True) if hit > bits >> 63]
    assert missed == []
    assert 150 < sum(hits) < len(texts) // 2


def test_at_least_a_hundred_issuers_are_known() -> None:
    assert len(FORMATS) > 150


def test_a_table_that_the_search_could_not_use_is_refused() -> None:
    row = "[[format]]\nkind = 'a'\nanchors = ['{}']\npattern = '{}'\n"
    formats, examples = read_formats(
        tomllib.loads("examples = ['x']\n" + row.format("abcd", "abcd[0-9]{8}"))
    )
    assert (formats[0].kind, examples) == ("a", ("x",))
    for anchor, pattern in (("abc", "abc"), ("abcd", "(abcd)(x)")):
        with pytest.raises(ValueError, match="secret format a"):
            read_formats(tomllib.loads("examples = []\n" + row.format(anchor, pattern)))
    with pytest.raises(ValueError, match="same kind"):
        read_formats(tomllib.loads("examples = []\n" + 2 * row.format("abcd", "abcd")))


def test_formats_that_share_a_bit_are_told_apart() -> None:
    assert [kind for *_, kind, _ in find_secrets("x nvapi-" + 3 * "q7Rk2xLq9vZt4Wb8aB3dE")] == [
        "nvidia-key"
    ]
