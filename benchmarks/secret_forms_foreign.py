"""Commands that are given a secret, and telling names in other languages than English.

The commands are as their manuals write them, the names as dictionaries and projects have them; both
lists were written before the rules for them.

Not here: the forms of secret_forms.py, and the measurement (redaction.py).
"""

from secret_forms import NONE, Form

_COMMANDS = r"""
snmpget -v2c -c {v} h sysDescr.0
snmpwalk -v 3 -u app -l authPriv -a SHA -A {v} -x AES h
snmpwalk -v3 -l authPriv -u app -X "{v}" h
rocommunity {v} 10.0.0.0/8
createUser app SHA "{v}" AES
enable secret 0 {v}
username admin password 0 {v}
username admin privilege 15 secret {v}
kubectl create secret generic x --from-literal=db={v}
wrangler secret put X <<< {v}
gh secret set X --body "{v}"
gh secret set X -b"{v}"
heroku config:set X_KEY={v}
fly secrets set DATABASE_PASS={v}
firebase functions:config:set stripe.key="{v}"
aws configure set aws_secret_access_key {v}
npm config set //registry.acme.dev/:_authToken {v}
cmdkey /add:srv /user:app /pass:{v}
schtasks /create /tn x /ru app /rp {v}
winrs -r:srv -u:app -p:{v} cmd
az login --service-principal -u app -p {v} --tenant t
az login -u app -p '{v}'
mc alias set play https://s3.acme.dev app {v}
s3cmd --secret_key={v} ls
rclone config create x sftp host h user u pass {v}
lftp -u app,{v} sftp://h
smbclient //h/s -U app%{v}
rpcclient -U 'app%{v}' h
xfreerdp /v:h /u:app /p:{v}
rdesktop -u app -p {v} h
echo {v} | passwd --stdin app
sshpass -p{v} ssh h
ldapadd -x -D cn=admin -w {v} -f a.ldif
bindpw {v}
rootpw {v}
olcRootPW: {v}
psql "host=h user=app password={v}"
psql postgresql://app:{v}@db/app
mongosh --username app --password {v}
mongodump -u app -p {v} --db x
influx -username app -password {v}
cqlsh h -u app -p {v}
clickhouse-client --user app --password {v}
etcdctl --user root:{v} get /
consul kv get -token={v} x
mosquitto_pub -h h -u app -P {v} -t x
rabbitmqadmin -u app -p {v} list queues
svn co --username app --password {v} https://h/x
zip -P {v} a.zip b
7z a -p{v} a.7z b
unrar x -p{v} a.rar
gpg --batch --passphrase {v} -d a.gpg
openssl enc -aes-256-cbc -k {v} -in a
openssl enc -aes-256-cbc -pass pass:{v} -in a
openssl req -newkey rsa:2048 -passout pass:{v}
openssl rsa -in a.pem -passin 'pass:{v}'
openssl passwd -6 {v}
keytool -list -storepass {v}
jarsigner -keystore a -storepass {v} -keypass x b.jar alias
ansible all -e "ansible_password={v}"
htpasswd -nb app {v}
htpasswd -nbB app "{v}"
caddy hash-password --plaintext {v}
mkpasswd -m sha-512 {v}
wpa_passphrase home {v}
nmcli dev wifi connect home password {v}
radtest app {v} localhost 0 testing123
racadm -r h -u root -p {v} getsysinfo
sqlcmd -S h -U sa -P {v} -Q "select 1"
bcp t in f -S h -U sa -P {v}
isql mydsn app {v}
tsql -S h -U app -P {v}
sqlplus app/{v}@db
expdp app/{v}@db schemas=x
rman target sys/{v}@db
db2 connect to shop user app using {v}
mysqladmin -u root password '{v}'
mysqladmin -u root -pold password {v}
ALTER USER 'root'@'localhost' IDENTIFIED WITH mysql_native_password BY '{v}';
SET PASSWORD FOR 'app'@'%' = PASSWORD('{v}');
GRANT ALL ON x.* TO 'app'@'%' IDENTIFIED BY '{v}';
redis-cli AUTH {v}
CONFIG SET requirepass {v}
wget --http-user=app --http-password={v} https://h
aria2c --http-user=app --http-passwd={v} https://h
http -a app:{v} https://h/x
curl -U app:{v} -x proxy https://h
curl --proxy-user app:{v} -x proxy https://h
curl -su 'app:{v}' https://h
curl -H "X-Auth-Token: {v}" https://h
gh auth login --with-token <<< {v}
echo {v} > ~/.vault-token
tailscale up --authkey={v}
ngrok authtoken {v}
ngrok config add-authtoken {v}
cloudflared tunnel run --token {v}
doppler configure set token {v}
sentry-cli login --auth-token {v}
snyk auth {v}
travis login --github-token {v}
poetry config http-basic.acme app {v}
poetry config pypi-token.acme {v}
twine upload -u app -p {v} dist/*
nuget setapikey {v} -source x
nuget sources add -Name x -UserName app -Password {v}
dotnet nuget push a.nupkg -k {v}
dotnet user-secrets set "Smtp:Pass" "{v}"
cargo login {v}
composer config http-basic.acme.dev app {v}
composer config github-oauth.github.com {v}
bundle config gems.acme.dev app:{v}
pip config set global.index-url https://app:{v}@pypi.acme.dev/simple
mvn deploy -Dgpg.passphrase={v}
gradle publish -Psigning.password={v}
java -Djavax.net.ssl.keyStorePassword={v} -jar a.jar
docker swarm join --token {v} h:2377
kubectl config set-credentials app --token={v}
oc login -u app -p {v} https://h
oc login --token={v} https://h
ibmcloud login -u app -p {v}
openstack --os-password {v} server list
swift -A https://h/auth -U app -K {v} list
vault write auth/userpass/users/app password={v}
vault kv put kv/app pin={v}
consul kv put app/db/pw {v}
aws secretsmanager create-secret --name x --secret-string {v}
aws ssm put-parameter --name /app/db --type SecureString --value {v}
aws rds create-db-instance --master-user-password {v}
az keyvault secret set --vault-name v -n x --value {v}
az sql server create -u app --admin-password {v}
gcloud sql users set-password app --password={v}
security add-generic-password -a app -s x -w {v}
security unlock-keychain -p {v} login.keychain
bw unlock {v}
cryptsetup luksOpen /dev/sda1 x <<< "{v}"
PrivateKey = {v}
set imap_pass = "{v}"
app  *  {v}  *
db, err := sql.Open("mysql", "app:{v}@tcp(db:3306)/app")
DSN="app:{v}@tcp(127.0.0.1:3306)/app?parseTime=true"
dsn := "app:{v}@unix(/tmp/mysql.sock)/app"
dsn := "user=app password={v} host=db dbname=app sslmode=disable"
dsn := fmt.Sprintf("app:{v}@(%s)/app", host)
sqlserver://sa:{v}@db:1433?database=app
mongodb://app:{v}@a,b,c/app?replicaSet=x
clickhouse://app:{v}@h:9000/x
net rpc user -U app%{v} -S h
mount -t cifs //h/s /m -o user=app,pass={v}
ftp.login("app", "{v}")
ftp = FTP("h", "app", "{v}")
ssh.connect("h", username="app", password="{v}")
conn = cx_Oracle.connect("app/{v}@db")
new SmtpClient().Authenticate("app", "{v}");
$mail->Password = '{v}';
->setUsername('app')->setPassword('{v}')
auth=("app", "{v}")
auth: {{ user: 'app', pass: '{v}' }}
.basicAuth("app", "{v}")
.auth('app', '{v}')
req.SetBasicAuth("app", "{v}")
git remote add o https://app:{v}@git.acme.dev/x.git
iex "& net use X: \\srv\s /user:app {v}"
expect "assword:" ; send "{v}\r"
echo "app:{v}" | chpasswd
printf "%s" "{v}" | docker secret create db_pass -
echo -n {v} | base64
"""
_NAMES = """
tr sifre şifre parola kullanici_sifresi dbSifre
tr API_ANAHTARI gizli_anahtar gizliAnahtar erisim_belirteci ŞIFRE
nl wachtwoord dbWachtwoord WACHTWOORD geheim
nl api_sleutel geheime_sleutel toegangstoken toegangssleutel
sv lösenord losenord DB_LOSENORD hemlighet api_nyckel apiNyckel hemlig_nyckel åtkomsttoken
no passord dbPassord hemmelighet api_nøkkel apiNokkel tilgangsnøkkel
da adgangskode kodeord hemmelighed api_nøgle apiNoegle adgangstoken
fi salasana dbSalasana SALASANA salaisuus api_avain salainen_avain apiAvain tunnussana
ja パスワード DBパスワード 秘密鍵 APIキー トークン アクセストークン
ja 暗証番号 pasuwado himitsu himitsu_kagi api_kagi シークレット
zh 密码 数据库密码 密碼 密钥 访问密钥 令牌 口令 mima db_mima miyao
ko 비밀번호 DB비밀번호 암호 토큰 비밀키
ru пароль ПАРОЛЬ пароль_бд секрет токен ключ_api parol sekret
uk пароль ключ_доступу
de passwort kennwort geheimnis apiSchluessel api_schlüssel zugangsschluessel zugangstoken
fr mot_de_passe motDePasse mdp MDP clé_api cle_api cle_secrete jeton jeton_acces
es contraseña contrasena clave clave_api llave_secreta secreto
pt senha chave_api chaveSecreta segredo
it parola chiave_api chiaveSegreta segreto parola_ordine
pl hasło haslo klucz_api sekret kluczApi
cs heslo api_klic tajny_klic dbHeslo
hu jelszo jelszó api_kulcs titok
ro parola cheie_api
hr lozinka zaporka tajni_kljuc
el κωδικός συνθηματικό kodikos
id kata_sandi sandi kunci_api rahasia
et parool salasõna
lt slaptazodis slaptažodis
is lykilord lykilorð
he סיסמה
ar كلمة_السر
"""
"""A language, then names in it."""
_SHAPES = (
    '{n} = "{v}"',
    "{n}={v}",
    "{n}: {v}",
    '"{n}": "{v}",',
    "const {n} = '{v}';",
    "<{n}>{v}</{n}>",
    'export {n}="{v}"',
)
_WIDE_SHAPES = ("{n}\uff1a{v}", "{n}\u306f\u300c{v}\u300d\u3067\u3059")
"""How Japanese, Chinese and Korean texts write it."""

COMMAND_FORMS = tuple(
    Form(each, f"x = 1\n{each}\ny = 2\n", NONE, "plain") for each in _COMMANDS.strip().split("\n")
)
NAME_FORMS = tuple(
    Form(f"{language} {shape}", f"x = 1\n{shape}\ny = 2\n", tuple(names), "plain")
    for language, *names in map(str.split, _NAMES.strip().split("\n"))
    for shape in (*_SHAPES, *(_WIDE_SHAPES if language in ("ja", "zh", "ko") else ()))
)
